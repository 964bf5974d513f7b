import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { getCACertificates } from "node:tls";
import { CREDENTIAL_LIMITS } from "../limits.ts";
import { CredentialError } from "./credential.ts";

export interface FormPost {
  readonly url: URL;
  readonly form: URLSearchParams;
  /** PEM; its authorities are trusted beside the public ones. */
  readonly caFile: string | undefined;
  readonly signal: AbortSignal;
}

export interface FormAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * Posts a form with secrets, to just that url: no redirect is followed.
 *
 * @throws CredentialError when the answer is too large.
 */
export async function postForm({ url, form, caFile, signal }: FormPost): Promise<FormAnswer> {
  const body = form.toString();
  const ca = caFile === undefined ? undefined : await trusting(caFile);
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = {
      method: "POST",
      agent: false,
      signal: AbortSignal.any([
        signal,
        AbortSignal.timeout(CREDENTIAL_LIMITS.cloudRequestTimeoutMs),
      ]),
      headers: {
        accept: "application/json",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": Buffer.byteLength(body),
      },
    };
    const request =
      url.protocol === "https:"
        ? requestTls(url, ca === undefined ? options : { ...options, ca })
        : requestPlain(url, options);
    request.once("response", resolve).once("error", reject).end(body);
  });
  return { status: response.statusCode ?? 0, body: await readAll(response) };
}

async function trusting(caFile: string): Promise<string[]> {
  return [...getCACertificates("default"), await readFile(caFile, "utf8")];
}

/** Leaving the loop destroys the connection. */
async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > CREDENTIAL_LIMITS.cloudReplyBytesMax) {
      throw new CredentialError("it was answered far more than a log-in");
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
