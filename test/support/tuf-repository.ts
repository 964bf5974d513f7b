import type { KeyObject } from "node:crypto";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

type Json = string | number | boolean | null | readonly Json[] | Members;
interface Members {
  readonly [name: string]: Json;
}
type Role = "root" | "timestamp" | "snapshot" | "targets";

const ROLES: readonly Role[] = ["root", "timestamp", "snapshot", "targets"];
const NEVER = "2099-01-01T00:00:00Z";
const TARGET = "trusted_root.json";
/** Not the server's root: what leaves the repository shows in `requests`. */
const FOLDER = "/tuf";

interface Key {
  readonly id: string;
  readonly json: Json;
  readonly privateKey: KeyObject;
}

/** What one version is to be, where it is not as it should be. */
export interface Publication {
  /** Of this role's metadata; all others never expire. */
  readonly expires?: Partial<Record<Role, string>>;
  /** A name for the hash of the target: a part of its path. */
  readonly hash?: string;
  /** A length for the target. */
  readonly length?: number;
  /** Roles that another's keys sign. */
  readonly forged?: readonly Role[];
  /** The name of a role that the target is delegated to. */
  readonly delegatesTo?: string;
}

export interface Rotation {
  readonly isFirst?: boolean;
  /** Not signed by the root key that went before. */
  readonly isForged?: boolean;
  readonly expires?: string;
}

/**
 * A TUF repository as Sigstore's (consistent snapshots, one target), made by hand from the
 * specification and served on loopback: https://theupdateframework.github.io/specification/v1.0.31.
 */
export class TufRepository implements AsyncDisposable {
  readonly #server: Server;
  #files = new Map<string, Buffer>();
  #keys = newKeys();
  #rootVersion = 0;
  #version = 0;
  /** Paths in the order in which they were asked for. */
  readonly requests: string[] = [];
  /** Answers instead of the files; `undefined` from it means the file. */
  fault: ((path: string, response: ServerResponse) => true | undefined) | undefined;

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.rotateRoot({ isFirst: true });
  }

  static async serve(target: string): Promise<TufRepository> {
    const repository = new TufRepository();
    repository.publish(target);
    const { promise, resolve } = Promise.withResolvers<void>();
    repository.#server.listen(0, "127.0.0.1", resolve);
    await promise;
    return repository;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${FOLDER}`;
  }

  /** The root.json that clients start from: the first one. */
  get firstRoot(): string {
    return String(this.#files.get("/1.root.json"));
  }

  /** The next version of everything but the root. */
  publish(target: string, how: Publication = {}): void {
    this.#version += 1;
    const version = this.#version;
    const bytes = Buffer.from(target);
    const hash = how.hash ?? sha256(bytes);
    this.#files.set(`/targets/${hash}.${TARGET}`, bytes);
    const own = { [TARGET]: { length: how.length ?? bytes.length, hashes: { sha256: hash } } };
    const name = how.delegatesTo;
    const others = name === undefined ? {} : { [`${name}.json`]: { version } };
    if (name === undefined) {
      this.#sign("targets", how, { targets: own });
    } else {
      this.#sign("targets", how, { targets: {}, delegations: this.#delegations(name) });
      this.#sign("targets", how, { targets: own }, `${version}.${encodeURIComponent(name)}`);
    }
    this.#sign("snapshot", how, { meta: { "targets.json": { version }, ...others } });
    this.#sign("timestamp", how, { meta: { "snapshot.json": { version } } }, "timestamp");
  }

  /** A next root with new keys for every role, signed by the old root key and the new one. */
  rotateRoot({ isFirst = false, isForged = false, expires = NEVER }: Rotation = {}): void {
    const before = this.#keys.root;
    if (!isFirst) {
      this.#keys = newKeys();
    }
    const old = isForged ? newKeys().root : before;
    this.#rootVersion += 1;
    const signed = {
      ...head("root", this.#rootVersion, expires),
      consistent_snapshot: true,
      keys: Object.fromEntries(ROLES.map((role) => [this.#keys[role].id, this.#keys[role].json])),
      roles: Object.fromEntries(
        ROLES.map((role) => [role, { keyids: [this.#keys[role].id], threshold: 1 }]),
      ),
    };
    const signers = isFirst ? [this.#keys.root] : [old, this.#keys.root];
    this.#files.set(`/${this.#rootVersion}.root.json`, signedBy(signers, signed));
  }

  /** What is served now, to be served again later: a rollback. */
  snapshot(): () => void {
    const files = new Map(this.#files);
    return () => {
      this.#files = files;
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  #sign(role: Role, how: Publication, rest: Members, name = `${this.#version}.${role}`): void {
    const key = how.forged?.includes(role) === true ? newKeys()[role] : this.#keys[role];
    const signed = { ...head(role, this.#version, how.expires?.[role] ?? NEVER), ...rest };
    this.#files.set(`/${name}.json`, signedBy([key], signed));
  }

  #delegations(name: string): Json {
    const { id, json } = this.#keys.targets;
    return {
      keys: { [id]: json },
      roles: [{ name, keyids: [id], threshold: 1, terminating: false, paths: ["*"] }],
    };
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "";
    this.requests.push(path);
    if (this.fault?.(path, response) === true) {
      return;
    }
    const file = this.#files.get(path.slice(FOLDER.length));
    response.writeHead(file === undefined ? 404 : 200).end(file);
  }
}

function head(role: Role, version: number, expires: string): Members {
  return { _type: role, spec_version: "1.0.31", version, expires };
}

function signedBy(keys: readonly Key[], signed: Json): Buffer {
  const bytes = Buffer.from(canonical(signed));
  const signatures = keys.map(({ id, privateKey }) => ({
    keyid: id,
    sig: sign(privateKey.asymmetricKeyType === "ec" ? "sha256" : null, bytes, privateKey).toString(
      "hex",
    ),
  }));
  return Buffer.from(JSON.stringify({ signatures, signed }));
}

/** Root and targets as Sigstore has them (ECDSA), the others Ed25519. */
function newKeys(): Record<Role, Key> {
  return { root: ecdsaKey(), targets: ecdsaKey(), snapshot: ed25519Key(), timestamp: ed25519Key() };
}

function ecdsaKey(): Key {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
  return keyOf(privateKey, { keytype: "ecdsa", scheme: "ecdsa-sha2-nistp256", value: pem });
}

function ed25519Key(): Key {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const hex = publicKey.export({ type: "spki", format: "der" }).subarray(-32).toString("hex");
  return keyOf(privateKey, { keytype: "ed25519", scheme: "ed25519", value: hex });
}

function keyOf(
  privateKey: KeyObject,
  { keytype, scheme, value }: { keytype: string; scheme: string; value: string },
): Key {
  const json = { keytype, scheme, keyval: { public: value } };
  return { id: sha256(Buffer.from(canonical(json))), json, privateKey };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** What TUF signs: sorted members, no white space, only `"` and `\` escaped. */
function canonical(value: Json): string {
  if (typeof value === "string") {
    return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  }
  if (value === null || typeof value !== "object") {
    return JSON.stringify(value);
  }
  if (isList(value)) {
    return `[${value.map(canonical).join(",")}]`;
  }
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${canonical(name)}:${canonical(value[name] ?? null)}`).join(",")}}`;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
