import { createPublicKey } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { buffer } from "node:stream/consumers";
import { ASN1Obj } from "@sigstore/core";
import { portOf } from "./fake-upstream.ts";
import type { PrivateSigstore } from "./private-sigstore.ts";
import { createPrivateSigstore } from "./private-sigstore.ts";
import { logEntryJson } from "./sign-bundle.ts";
import { certificatePem } from "./sign-certificates.ts";
import type { EntryBody, LoggedEntry } from "./sign-log.ts";
import { sha256 } from "./sign-log.ts";
import { wholeSecond } from "./sign-with.ts";

/** Which services a signing config names. */
export interface ServiceChoice {
  readonly authority?: boolean;
  readonly log?: "v1" | "v2" | "none";
  readonly timestamps?: boolean;
}

interface Answer {
  readonly status: number;
  readonly body: string | Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

type Handler = (body: Buffer, request: IncomingMessage) => Promise<Answer>;

const JSON_TYPE = { "content-type": "application/json" };
const SIGNING_CONFIG = "application/vnd.dev.sigstore.signingconfig.v0.2+json";

/** A private Sigstore behind HTTP on loopback, as far as cosign needs it to sign. */
export class SigstoreServices implements AsyncDisposable {
  readonly url: string;
  readonly sigstore: PrivateSigstore;
  /** `POST /api/v2/signingCert`, in the order in which they came. */
  readonly requests: string[] = [];
  readonly #server: Server;
  readonly #handlers: Readonly<Record<string, Handler>>;

  private constructor(server: Server, url: string, sigstore: PrivateSigstore) {
    this.url = url;
    this.sigstore = sigstore;
    this.#server = server;
    this.#handlers = {
      "POST /api/v2/signingCert": (body, request) => issue(sigstore, body, request),
      "POST /api/v1/log/entries": (body) => logV1(sigstore, body),
      "POST /api/v2/log/entries": (body) => logV2(sigstore, body),
      "POST /api/v1/timestamp": (body) => stamp(sigstore, body),
    };
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
  }

  static async start(): Promise<SigstoreServices> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${portOf(server)}`;
    return new SigstoreServices(server, url, await createPrivateSigstore(url));
  }

  /** https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto */
  signingConfig(choice: ServiceChoice = {}): string {
    const { authority = true, log = "v1", timestamps = false } = choice;
    const service = (url: string, majorApiVersion: number): object => ({
      url,
      majorApiVersion,
      validFor: { start: "2020-01-01T00:00:00Z" },
      operator: "sluice.test",
    });
    const any = { selector: "ANY" };
    return JSON.stringify({
      mediaType: SIGNING_CONFIG,
      caUrls: authority ? [service(this.url, 1)] : [],
      oidcUrls: authority ? [service(this.url, 1)] : [],
      rekorTlogUrls: log === "none" ? [] : [service(this.url, log === "v1" ? 1 : 2)],
      ...(log !== "none" && { rekorTlogConfig: any }),
      tsaUrls: timestamps ? [service(`${this.url}/api/v1/timestamp`, 1)] : [],
      ...(timestamps && { tsaConfig: any }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const line = `${request.method} ${request.url}`;
    this.requests.push(line);
    const handler = this.#handlers[line];
    if (handler === undefined) {
      response.writeHead(404).end(`no such service: ${line}`);
      return;
    }
    const { status, headers, body } = await handler(await buffer(request), request);
    response.writeHead(status, headers).end(body);
  }
}

/** A token that nobody signed: the private Fulcio believes it. Cosign wants to read RS256. */
export function identityToken(claims: {
  readonly iss: string;
  readonly sub: string;
  readonly email?: string;
}): string {
  const part = (json: object): string => Buffer.from(JSON.stringify(json)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const times = { aud: "sigstore", iat: now, exp: now + 600, email_verified: true };
  return `${part({ alg: "RS256", typ: "JWT" })}.${part({ ...times, ...claims })}.c2lnbmF0dXJl`;
}

/** https://github.com/sigstore/fulcio/blob/main/fulcio.proto, CreateSigningCertificate */
async function issue(
  sigstore: PrivateSigstore,
  body: Buffer,
  request: IncomingMessage,
): Promise<Answer> {
  const asked = JSON.parse(body.toString()) as {
    readonly credentials?: { readonly oidcIdentityToken?: string };
    readonly publicKeyRequest: { readonly publicKey: { readonly content: string } };
  };
  const token =
    asked.credentials?.oidcIdentityToken ??
    request.headers.authorization?.replace(/^Bearer /, "") ??
    "";
  const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as {
    readonly iss: string;
    readonly sub: string;
    readonly email?: string;
  };
  const leaf = await sigstore.authority.issue({
    publicKey: createPublicKey(asked.publicKeyRequest.publicKey.content),
    identity: claims.email ?? claims.sub,
    issuer: claims.iss,
    notBefore: wholeSecond(),
  });
  const certificates = [leaf, sigstore.authority.root].map(certificatePem);
  const answer = { signedCertificateEmbeddedSct: { chain: { certificates } } };
  return { status: 200, headers: JSON_TYPE, body: JSON.stringify(answer) };
}

/** https://github.com/sigstore/rekor/blob/main/openapi.yaml, createLogEntry */
async function logV1(sigstore: PrivateSigstore, body: Buffer): Promise<Answer> {
  const entry = await sigstore.log.append(
    canonicalEntry(JSON.parse(body.toString()) as EntryBody),
    wholeSecond(),
  );
  const id = sha256(entry.body).toString("hex");
  const headers = { ...JSON_TYPE, etag: id, location: `/api/v1/log/entries/${id}` };
  return { status: 201, headers, body: JSON.stringify({ [id]: rekorAnswer(entry) }) };
}

/** What is logged of an envelope is its hashes, not the envelope. */
function canonicalEntry(proposed: EntryBody): EntryBody {
  const { proposedContent } = proposed.spec as {
    readonly proposedContent?: { readonly envelope: string; readonly verifiers: string[] };
  };
  if (proposedContent === undefined) {
    return proposed;
  }
  const { payload, signatures } = JSON.parse(proposedContent.envelope) as {
    readonly payload: string;
    readonly signatures: readonly { readonly sig: string }[];
  };
  const hash = (data: Uint8Array | string): object => ({
    algorithm: "sha256",
    value: sha256(data).toString("hex"),
  });
  const spec = {
    envelopeHash: hash(proposedContent.envelope),
    payloadHash: hash(Buffer.from(payload, "base64")),
    signatures: signatures.map(({ sig }, at) => {
      return { signature: sig, verifier: proposedContent.verifiers[at] };
    }),
  };
  return { apiVersion: proposed.apiVersion, kind: proposed.kind, spec };
}

function rekorAnswer(entry: LoggedEntry): object {
  return {
    body: entry.body,
    integratedTime: entry.integratedTime,
    logID: entry.logId,
    logIndex: entry.logIndex,
    verification: {
      signedEntryTimestamp: entry.signedEntryTimestamp,
      inclusionProof: { ...entry.proof, hashes: [] },
    },
  };
}

/** https://github.com/sigstore/rekor-tiles/blob/main/api/proto/rekor_service.proto, CreateEntry */
async function logV2(sigstore: PrivateSigstore, body: Buffer): Promise<Answer> {
  const { hashedRekordRequestV002: request } = JSON.parse(body.toString()) as {
    readonly hashedRekordRequestV002: { readonly digest: string; readonly signature: object };
  };
  const { digest, signature } = request;
  const hashedRekordV002 = { data: { algorithm: "SHA2_256", digest }, signature };
  const logged = await sigstore.log.append(
    { apiVersion: "0.0.2", kind: "hashedrekord", spec: { hashedRekordV002 } },
    wholeSecond(),
  );
  const answer = JSON.stringify(logEntryJson(logged, "v2"));
  return { status: 201, headers: JSON_TYPE, body: answer };
}

/** RFC 3161, section 2.4.1: version, messageImprint, then optional ones, of which nonce is used. */
async function stamp(sigstore: PrivateSigstore, body: Buffer): Promise<Answer> {
  const [, imprint, ...optional] = ASN1Obj.parseBuffer(Buffer.from(body)).subs;
  const [algorithm, digest] = imprint?.subs ?? [];
  const nonce = optional.find(({ tag }) => tag.isInteger());
  const answer = await sigstore.answerStampRequest(
    {
      hashAlgorithmOid: algorithm?.subs[0]?.toOID() ?? "",
      digest: digest?.value ?? Buffer.alloc(0),
      ...(nonce && { nonce: Number(nonce.toInteger()) }),
    },
    wholeSecond(),
  );
  const headers = { "content-type": "application/timestamp-reply" };
  return { status: 201, headers, body: answer };
}
