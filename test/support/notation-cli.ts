import type { KeyObject } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ran } from "./processes.ts";
import { run } from "./processes.ts";

export interface NotationSignOptions {
  readonly format?: "jws" | "cose";
  /** Keeps it under the tag `sha256-<hex>`, as Notation does by itself; else by the API. */
  readonly fallbackTag?: boolean;
  /** `24h`: it does not count later. */
  readonly expiry?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** The name of a certificate; the first that was made by default. */
  readonly key?: string;
}

/**
 * The real notation, with a folder of its own for keys, certificates and policy. Every command is
 * checked for its exit code but `verify`: what that says is the test's.
 */
export class NotationCli implements AsyncDisposable {
  readonly #folder: string;
  /** Names of trust stores. */
  readonly #trusted: string[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** With a self-signed certificate, which its policy trusts for every repository. */
  static async start(name = "sluice.test"): Promise<NotationCli> {
    const folder = await mkdtemp(join(tmpdir(), "sluice-notation-"));
    const notation = new NotationCli(folder);
    await notation.#must(["cert", "generate-test", "--default", name]);
    notation.#trusted.push(name);
    await notation.#importPolicy();
    return notation;
  }

  /** A folder of PEM certificates, as a trust store is. */
  trustStoreDir(name = "sluice.test"): string {
    return join(this.#folder, "notation", "truststore", "x509", "ca", name);
  }

  /** A second signer, whom the policy does not trust. */
  async addStranger(name: string): Promise<void> {
    await this.#must(["cert", "generate-test", name]);
  }

  /** A signer with a chain of certificates, from its own to the root, which is trusted from now on. */
  async addSigner(
    name: string,
    signer: { readonly privateKey: KeyObject; readonly chainPem: readonly string[] },
  ): Promise<void> {
    const home = join(this.#folder, "notation");
    const file = (ending: string): string => join(home, "localkeys", `${name}.${ending}`);
    const key = { name, keyPath: file("key"), certPath: file("crt") };
    await writeFile(key.keyPath, signer.privateKey.export({ type: "pkcs8", format: "pem" }));
    await writeFile(key.certPath, signer.chainPem.join(""));
    const list = join(home, "signingkeys.json");
    const known = JSON.parse(await readFile(list, "utf8")) as { readonly keys: readonly object[] };
    await writeFile(list, JSON.stringify({ ...known, keys: [...known.keys, key] }));
    await this.trust(name, signer.chainPem.at(-1) ?? "");
  }

  /** From now on its policy trusts what the owner of this certificate has issued. */
  async trust(name: string, certificatePem: string): Promise<void> {
    await mkdir(this.trustStoreDir(name), { recursive: true });
    await writeFile(join(this.trustStoreDir(name), "root.pem"), certificatePem);
    this.#trusted.push(name);
    await this.#importPolicy();
  }

  /** `image` is by digest: `127.0.0.1:40123/app@sha256:…`. */
  async sign(image: string, options: NotationSignOptions = {}): Promise<Ran> {
    const { format = "jws", fallbackTag = false, expiry, metadata = {}, key } = options;
    return await this.#must([
      "sign",
      "--insecure-registry",
      ...["--signature-format", format],
      `--force-referrers-tag=${fallbackTag}`,
      ...(expiry === undefined ? [] : ["--expiry", expiry]),
      ...(key === undefined ? [] : ["--key", key]),
      ...Object.entries(metadata).flatMap(([name, value]) => ["-m", `${name}=${value}`]),
      image,
    ]);
  }

  /** Its exit code is not 0 when no signature counts. */
  verify(image: string): Promise<Ran> {
    return this.#run(["verify", "--insecure-registry", image]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #importPolicy(): Promise<void> {
    const file = join(this.#folder, "policy.json");
    await writeFile(file, JSON.stringify(policyFor(this.#trusted)));
    await this.#must(["policy", "import", "--force", file]);
  }

  async #must(args: readonly string[]): Promise<Ran> {
    const ran = await this.#run(args);
    if (ran.code !== 0) {
      throw new Error(`notation ${args[0]} ended with ${ran.code}:\n${ran.output}`);
    }
    return ran;
  }

  #run(args: readonly string[]): Promise<Ran> {
    const places = ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "DOCKER_CONFIG"];
    const env = Object.fromEntries(places.map((name) => [name, this.#folder]));
    return run("notation", args, { cwd: this.#folder, env });
  }
}

/** https://github.com/notaryproject/specifications/blob/v1.1.0/specs/trust-store-trust-policy.md */
function policyFor(names: readonly string[]): object {
  const policy = {
    name: "everything",
    registryScopes: ["*"],
    signatureVerification: { level: "strict" },
    trustStores: names.map((name) => `ca:${name}`),
    trustedIdentities: ["*"],
  };
  return { version: "1.0", trustPolicies: [policy] };
}
