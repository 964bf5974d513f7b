import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ran } from "./processes.ts";
import { run } from "./processes.ts";
import type { ServiceChoice } from "./sigstore-services.ts";
import { identityToken, SigstoreServices } from "./sigstore-services.ts";

/** What cosign leaves on the registry. */
export type CosignForm = "bundle" | "tag" | "legacy-referrer";

export interface CosignOptions {
  /** Cosign 3's own by default. */
  readonly form?: CosignForm;
  /** Keyless is logged in Rekor v1 by default; a key is not. Only v1 in the older forms. */
  readonly log?: "v1" | "v2" | "none";
  /** By default where nothing else tells the time. */
  readonly timestamps?: boolean;
  /** Signs the children of an index as well. */
  readonly recursive?: boolean;
  /** `--annotations`, which are signed. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** An e-mail address is the token's `email`, anything else its subject. */
export interface CosignIdentity {
  readonly identity: string;
  readonly issuer: string;
}

export interface CosignKey {
  /** Its name: one is made when it is first asked for. */
  readonly key: string;
}

export type CosignSigner = CosignIdentity | CosignKey;

/** Who must have signed: for what was not signed by this cosign, a key by its SPKI PEM. */
export type CosignVerifier = CosignSigner | { readonly publicKeyPem: string };

export interface Attestation {
  /** What cosign calls it: `slsaprovenance1`, `vuln`, `spdxjson`, or a URI. */
  readonly type: string;
  readonly predicate: unknown;
}

const PASSWORD = "secret";

/**
 * The real cosign, with a private Sigstore and a folder of its own. Every command is checked for
 * its exit code but those that verify: what they say is the test's.
 */
export class CosignCli implements AsyncDisposable {
  readonly services: SigstoreServices;
  readonly #folder: string;
  readonly #keys = new Map<string, Promise<string>>();
  #files = 0;

  private constructor(services: SigstoreServices, folder: string) {
    this.services = services;
    this.#folder = folder;
  }

  static async start(): Promise<CosignCli> {
    const folder = await mkdtemp(join(tmpdir(), "sluice-cosign-"));
    return new CosignCli(await SigstoreServices.start(), folder);
  }

  /** Everything that the private Sigstore vouches for, as JSON text. */
  get trustedRootJson(): string {
    return this.services.sigstore.trustedRootJson;
  }

  /** `image` is by digest: `127.0.0.1:40123/app@sha256:…`. */
  async sign(image: string, by: CosignSigner, options: CosignOptions = {}): Promise<Ran> {
    const annotations = Object.entries(options.annotations ?? {});
    return await this.#must("sign", [
      ...(await this.#signingFlags(by, options)),
      ...(options.recursive === true ? ["--recursive"] : []),
      ...annotations.flatMap(([name, value]) => ["--annotations", `${name}=${value}`]),
      image,
    ]);
  }

  async signKeyless(image: string, by: CosignIdentity, options?: CosignOptions): Promise<Ran> {
    return await this.sign(image, by, options);
  }

  async signKeyed(image: string, key: string, options?: CosignOptions): Promise<Ran> {
    return await this.sign(image, { key }, options);
  }

  async attest(
    image: string,
    by: CosignSigner,
    attestation: Attestation,
    options: CosignOptions = {},
  ): Promise<Ran> {
    const predicate = await this.#file("predicate.json", JSON.stringify(attestation.predicate));
    const what = ["--type", attestation.type, "--predicate", predicate];
    return await this.#must("attest", [...(await this.#signingFlags(by, options)), ...what, image]);
  }

  /** By digest or tag. Its exit code is not 0 when no signature counts. */
  async verify(image: string, by: CosignVerifier, options: CosignOptions = {}): Promise<Ran> {
    return await this.#run("verify", [...(await this.#verifyingFlags(by, options)), image]);
  }

  async verifyAttestation(
    image: string,
    by: CosignVerifier,
    type: string,
    options: CosignOptions = {},
  ): Promise<Ran> {
    const flags = [...(await this.#verifyingFlags(by, options)), "--type", type];
    return await this.#run("verify-attestation", [...flags, image]);
  }

  /** SPKI PEM of a key by name. */
  async publicKey(name: string): Promise<string> {
    return await readFile(`${await this.#key(name)}.pub`, "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.services[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #signingFlags(by: CosignSigner, options: CosignOptions): Promise<string[]> {
    const { form = "bundle" } = options;
    const choice = choiceOf(by, options);
    const signer =
      "key" in by
        ? ["--key", `${await this.#key(by.key)}.key`]
        : ["--identity-token", identityToken(claimsOf(by))];
    const root = ["--trusted-root", await this.#trustedRoot(by, options)];
    if (form === "bundle") {
      const config = await this.#file("signing-config.json", this.services.signingConfig(choice));
      return ["--yes", ...signer, ...root, "--signing-config", config];
    }
    const { url } = this.services;
    const isReferrer = form === "legacy-referrer";
    return [
      ...["--yes", ...signer, ...root, "--new-bundle-format=false", "--use-signing-config=false"],
      ...(choice.authority === true ? ["--fulcio-url", url] : []),
      ...(choice.log === "none" ? ["--tlog-upload=false"] : ["--rekor-url", url]),
      ...(choice.timestamps === true ? [`--timestamp-server-url=${url}/api/v1/timestamp`] : []),
      ...(isReferrer ? ["--registry-referrers-mode=oci-1-1"] : []),
    ];
  }

  async #verifyingFlags(by: CosignVerifier, options: CosignOptions): Promise<string[]> {
    const { form = "bundle" } = options;
    const { log, timestamps } = choiceOf(by, options);
    return [
      ...(await this.#wantedSigner(by)),
      ...["--trusted-root", await this.#trustedRoot(by, options)],
      ...(log === "none" ? ["--insecure-ignore-tlog=true"] : []),
      ...(timestamps === true ? ["--use-signed-timestamps"] : []),
      ...(form === "bundle" ? [] : ["--new-bundle-format=false"]),
      ...(form === "legacy-referrer" ? ["--experimental-oci11"] : []),
    ];
  }

  /** A key that is neither logged nor stamped needs a root, of which nothing is used. */
  async #trustedRoot(by: CosignVerifier, options: CosignOptions): Promise<string> {
    const { authority, log, timestamps } = choiceOf(by, options);
    const { sigstore } = this.services;
    const isUsed = authority === true || log !== "none" || timestamps === true;
    const json = isUsed
      ? sigstore.trustedRootJson
      : sigstore.trustedRootWithout("log", "ctlog", "authority", "timestamps");
    return await this.#file("trusted-root.json", json);
  }

  async #wantedSigner(by: CosignVerifier): Promise<string[]> {
    if ("publicKeyPem" in by) {
      return ["--key", await this.#file("key.pub", by.publicKeyPem)];
    }
    return "key" in by
      ? ["--key", `${await this.#key(by.key)}.pub`]
      : ["--certificate-identity", by.identity, "--certificate-oidc-issuer", by.issuer];
  }

  #key(name: string): Promise<string> {
    const made = this.#keys.get(name) ?? this.#makeKey(name);
    this.#keys.set(name, made);
    return made;
  }

  async #makeKey(name: string): Promise<string> {
    const prefix = join(this.#folder, name);
    await this.#must("generate-key-pair", ["--output-key-prefix", prefix]);
    return prefix;
  }

  async #file(name: string, text: string): Promise<string> {
    this.#files += 1;
    const file = join(this.#folder, `${this.#files}-${name}`);
    await writeFile(file, text);
    return file;
  }

  async #must(command: string, args: readonly string[]): Promise<Ran> {
    const ran = await this.#run(command, args);
    if (ran.code !== 0) {
      throw new Error(`cosign ${command} ended with ${ran.code}:\n${ran.output}`);
    }
    return ran;
  }

  #run(command: string, args: readonly string[]): Promise<Ran> {
    const env = {
      COSIGN_PASSWORD: PASSWORD,
      COSIGN_EXPERIMENTAL: "1", // for the older format as a referrer; nothing else looks at it
      HOME: this.#folder,
      DOCKER_CONFIG: this.#folder,
    };
    return run("cosign", [command, ...args], { cwd: this.#folder, env });
  }
}

function choiceOf(by: CosignVerifier, options: CosignOptions): ServiceChoice {
  const isKeyless = "identity" in by;
  const { log = isKeyless ? "v1" : "none" } = options;
  const timestamps = options.timestamps ?? (log === "v2" || (isKeyless && log === "none"));
  return { authority: isKeyless, log, timestamps };
}

function claimsOf({ identity, issuer }: CosignIdentity): Parameters<typeof identityToken>[0] {
  const isEmail = identity.includes("@") && !identity.includes("://");
  return { iss: issuer, sub: identity, ...(isEmail && { email: identity }) };
}
