import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import type { Disk } from "../../storage/disk.ts";
import { openDisk } from "../../storage/disk.ts";
import { StorageError } from "../../storage/errors.ts";
import type { StoreEvents } from "../../storage/store-events.ts";
import { loadConfig, processEnvironment } from "../config/config.ts";
import { PURGE_LIMITS } from "../limits.ts";
import { isLoopbackHost } from "../loopback.ts";
import type { Settings } from "../settings.ts";

/** What purge and scrub have in common: whose store it is, and who may be asked. */
export interface StoreOptions {
  readonly config?: string;
  readonly dryRun?: true;
  readonly json?: true;
  readonly admin?: string;
  readonly tokenFile?: string;
}

/** Something that the operator can mend; the message says how. */
export class StoreProblem extends Error {
  override readonly name = "StoreProblem";
  readonly code = "store-problem";
}

/** The folder itself, or the proxy that uses it. */
export type Reached =
  | { readonly settings: Settings; readonly disk: Disk; readonly events: StoreEvents }
  | { readonly settings: Settings; readonly admin: AdminClient };

const ANY_ADDRESS: ReadonlySet<string> = new Set(["::", "0.0.0.0"]);

/**
 * The folder that the configuration names, unless a proxy uses it or --admin says where one is.
 *
 * @throws ConfigError, StoreProblem
 */
export async function reachStore(options: StoreOptions): Promise<Reached> {
  const settings = loadConfig(options.config, processEnvironment());
  const tokenFile = options.tokenFile ?? settings.adminTokenFile;
  if (options.admin !== undefined) {
    return { settings, admin: new AdminClient(options.admin, tokenFile) };
  }
  const { path, maxBytes } = settings.storage.disk;
  if (!existsSync(join(path, "v1"))) {
    throw new StoreProblem(`there is no store in ${path}: --config names another, SLUICE_DATA too`);
  }
  try {
    const { verifyReads } = settings.storage;
    const complain = (what: string, reason: string, cause: unknown): void => {
      const why = cause instanceof Error ? cause.message : reason;
      process.stderr.write(`sluice: the store failed to ${what}: ${why}\n`);
    };
    const nothing = (): void => undefined;
    const events = { evicted: nothing, corruption: nothing, failed: complain };
    const disk = await openDisk({ path, maxBytes, verifyReads, events });
    return { settings, disk, events };
  } catch (error) {
    if (error instanceof StorageError && error.code === "store-unavailable") {
      return { settings, admin: new AdminClient(adminUrl(settings), tokenFile) };
    }
    throw error;
  }
}

function adminUrl({ admin: { host, port } }: Settings): string {
  const reachable = ANY_ADDRESS.has(host) ? "127.0.0.1" : host;
  return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`;
}

/** A running proxy's admin API. The token goes nowhere but into the header of its requests. */
export class AdminClient {
  readonly #origin: string;
  readonly #token: string | undefined;

  /** @throws StoreProblem when the address is none, or the token cannot be read. */
  constructor(address: string, tokenFile: string | undefined) {
    const url = URL.parse(address);
    const isOrigin = url?.pathname === "/" && url.search === "" && url.username === "";
    if (!(isOrigin && /^https?:$/.test(url.protocol))) {
      throw new StoreProblem("--admin must be an origin such as http://127.0.0.1:5001");
    }
    this.#origin = url.origin;
    this.#token = tokenFile === undefined ? undefined : readToken(tokenFile);
    if (this.#token !== undefined && url.protocol === "http:" && !isLoopbackHost(url.hostname)) {
      process.stderr.write(`sluice: the token goes to ${this.#origin} in the clear\n`);
    }
  }

  /**
   * @returns what it answered with 2xx.
   * @throws StoreProblem with what it said for anything else.
   */
  async ask(method: "GET" | "POST", path: string, body?: object): Promise<unknown> {
    const { statusCode, text } = await this.#send(method, path, body);
    const answer = parseJson(text);
    if (statusCode >= 200 && statusCode < 300 && answer !== undefined) {
      return answer;
    }
    const said: unknown = Object(answer)["error"];
    const why = typeof said === "string" ? printable(said) : `answered ${statusCode}`;
    const hint = statusCode === 401 || statusCode === 403 ? " (--token-file names the token)" : "";
    throw new StoreProblem(`${this.#origin}: ${why}${hint}`);
  }

  async #send(
    method: "GET" | "POST",
    path: string,
    body: object | undefined,
  ): Promise<{ readonly statusCode: number; readonly text: string }> {
    try {
      const { statusCode, body: answer } = await request(this.#origin + path, {
        method,
        headers: {
          ...(body !== undefined && { "content-type": "application/json" }),
          ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        // A purge answers when it is done.
        headersTimeout: 0,
      });
      return { statusCode, text: await readBounded(answer) };
    } catch (error) {
      if (error instanceof StoreProblem) {
        throw error;
      }
      const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
      const what = `a proxy uses the store, and its admin API at ${this.#origin} cannot be asked`;
      throw new StoreProblem(`${what}${code}: --admin says where it is`, { cause: error });
    }
  }
}

async function readBounded(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > PURGE_LIMITS.answerBytesMax) {
      throw new StoreProblem("the answer is too large: is that the admin port of a proxy?");
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function readToken(file: string): string {
  let token: string;
  try {
    token = readFileSync(file, "utf8").trim();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    throw new StoreProblem(`the token file ${file} cannot be read: ${code}`, { cause: error });
  }
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new StoreProblem(`the token file ${file} holds no token: expected one line of text`);
  }
  return token;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return;
  }
}

/** What another process says goes to a terminal. */
function printable(text: string): string {
  return text.slice(0, 500).replace(/[^\x20-\x7e]/g, "?");
}
