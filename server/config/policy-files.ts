import { X509Certificate } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { CONFIG_LIMITS } from "../limits.ts";
import type { Path } from "./nodes.ts";
import type { ConfigScope } from "./scope.ts";

const PEM_PATTERN = /-----BEGIN ([A-Z0-9 ]+)-----[^-]*-----END \1-----/gu;

export interface NamedText {
  readonly file: string;
  readonly text: string;
}

export interface TrustStore {
  readonly folder: string;
  /** PEM, one each, without repetition. */
  readonly certificates: readonly string[];
}

/** Reads what a policy names, each file once, however many rules name it. */
export class PolicyFiles {
  readonly #scope: ConfigScope;
  readonly #texts = new Map<string, string>();

  constructor(scope: ConfigScope) {
    this.#scope = scope;
  }

  text(path: Path, name: string | undefined): NamedText | undefined {
    const file = this.#scope.readableFile(path, name);
    if (file === undefined) {
      return undefined;
    }
    const text = this.#texts.get(file) ?? this.#read(path, file);
    if (text === undefined) {
      return undefined;
    }
    this.#texts.set(file, text);
    return { file, text };
  }

  trustStore(path: Path, name: string | undefined): TrustStore | undefined {
    if (name === undefined) {
      return undefined;
    }
    const folder = this.#scope.path(name);
    const files = this.#list(path, folder);
    const certificates = new Map<string, string>();
    for (const file of files ?? []) {
      const problem = addCertificates(join(folder, file), certificates);
      if (problem !== undefined) {
        const found = `found ${JSON.stringify(file)} in ${this.#scope.quote(path)}`;
        this.#scope.problem(path, `${found}: ${problem}, expected certificates, PEM or DER`);
      }
    }
    if (certificates.size > CONFIG_LIMITS.certificatesMax) {
      this.#scope.mismatch(path, `at most ${CONFIG_LIMITS.certificatesMax} certificates in it`);
    }
    return files === undefined ? undefined : { folder, certificates: [...certificates.values()] };
  }

  #read(path: Path, file: string): string | undefined {
    if (statSync(file).size > CONFIG_LIMITS.trustFileBytesMax) {
      this.#scope.mismatch(path, `a file of at most ${CONFIG_LIMITS.trustFileBytesMax} bytes`);
      return undefined;
    }
    return readFileSync(file, "utf8");
  }

  #list(path: Path, folder: string): readonly string[] | undefined {
    const expected = "expected a folder of certificates";
    const quoted = this.#scope.quote(path);
    try {
      const files = listTrustStore(folder);
      if (files.length > 0 && files.length <= CONFIG_LIMITS.certificatesMax) {
        return files;
      }
      const found = files.length === 0 ? "no file" : "too many files";
      this.#scope.problem(path, `found ${found} in ${quoted}, ${expected}`);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
      const why = code === "ENOENT" ? "does not exist" : `cannot be read (${code})`;
      this.#scope.problem(path, `found ${quoted} which ${why}, ${expected}`);
    }
    return undefined;
  }
}

/**
 * What counts in a folder of certificates, in order. Names that begin with a dot are what editors
 * and Kubernetes put beside the files.
 *
 * @throws a system error when it is not a folder that we may read.
 */
export function listTrustStore(folder: string): readonly string[] {
  return readdirSync(folder)
    .filter((name) => !name.startsWith("."))
    .sort();
}

/** Adds a file's certificates by fingerprint, or says what is wrong with it. */
function addCertificates(file: string, certificates: Map<string, string>): string | undefined {
  try {
    const status = statSync(file);
    if (!status.isFile()) {
      return "not a file";
    }
    if (status.size > CONFIG_LIMITS.trustFileBytesMax) {
      return "too large";
    }
    for (const certificate of parseCertificates(readFileSync(file))) {
      const { subject, issuer, publicKey, ca } = certificate;
      if (!ca && !(subject === issuer && certificate.verify(publicKey))) {
        return "a certificate that neither is an authority's nor signed by itself";
      }
      certificates.set(certificate.fingerprint256, certificate.toString());
    }
    return undefined;
  } catch (error) {
    return error instanceof NotCertificates ? error.message : "not a certificate";
  }
}

class NotCertificates extends Error {}

/** @throws NotCertificates, or what OpenSSL says of bytes that are none. */
function parseCertificates(bytes: Buffer): readonly X509Certificate[] {
  const text = bytes.toString("latin1");
  if (!text.includes("-----BEGIN ")) {
    return [new X509Certificate(bytes)];
  }
  const blocks = [...text.matchAll(PEM_PATTERN)];
  const other = blocks.find(([, label]) => label !== "CERTIFICATE")?.[1];
  if (other !== undefined) {
    throw new NotCertificates(`holds a ${other.toLowerCase()}`);
  }
  if (blocks.length !== text.split("-----BEGIN ").length - 1) {
    throw new NotCertificates("not whole");
  }
  return blocks.map(([block]) => new X509Certificate(block));
}
