import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import type { FastifyReply, FastifyRequest } from "fastify";
import { isLoopbackAddress, isLoopbackHost } from "../loopback.ts";

const BEARER_PATTERN = /^Bearer +(\S+)$/i;

interface Refusal {
  readonly status: 401 | 403 | 503;
  readonly message: string;
}

/**
 * Who may change something by way of the admin port: who has the token; without one configured,
 * whoever is on this machine and no web page.
 */
export class AdminGuard {
  readonly #tokenFile: () => string | undefined;

  /** @param tokenFile - asked each time, and read each time: a rotated token counts at once. */
  constructor(tokenFile: () => string | undefined) {
    this.#tokenFile = tokenFile;
  }

  /** A hook for routes that change something: answers what it refuses. */
  readonly protect = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const refusal = this.#refusalOf(request);
    if (refusal === undefined) {
      return;
    }
    if (refusal.status === 401) {
      reply.header("www-authenticate", 'Bearer realm="Sluice admin"');
    }
    await reply.code(refusal.status).send({ error: refusal.message });
  };

  #refusalOf(request: FastifyRequest): Refusal | undefined {
    const file = this.#tokenFile();
    if (file === undefined) {
      return isLocal(request)
        ? undefined
        : {
            status: 403,
            message: "without adminTokenFile this is for programs on the same machine only",
          };
    }
    const token = readToken(file);
    if (token === undefined) {
      return { status: 503, message: "adminTokenFile cannot be read, or is empty" };
    }
    const given = BEARER_PATTERN.exec(request.headers.authorization ?? "")?.[1];
    return given !== undefined && isSame(given, token)
      ? undefined
      : { status: 401, message: "send the token of adminTokenFile: Authorization: Bearer TOKEN" };
  }
}

/**
 * From loopback, under a loopback name, and not sent by a page: any web page may let its reader's
 * browser post to this machine, and by DNS under a name of the page's own.
 */
function isLocal({ headers, socket }: FastifyRequest): boolean {
  const host = URL.parse(`http://${headers.host ?? ""}`)?.hostname ?? "";
  const isPage = headers.origin !== undefined || headers["sec-fetch-site"] !== undefined;
  return isLoopbackAddress(socket.remoteAddress ?? "") && isLoopbackHost(host) && !isPage;
}

function readToken(file: string): string | undefined {
  try {
    const token = readFileSync(file, "utf8").trim();
    return token === "" ? undefined : token;
  } catch {
    return;
  }
}

/** In a time that tells nothing of either. */
function isSame(given: string, token: string): boolean {
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(given), hash(token));
}
