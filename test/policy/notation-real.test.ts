import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Subject } from "../../server/policy/evidence.ts";
import { parseDigest } from "../../storage/digest.ts";
import type { Artifact, Content } from "../support/image-builder.ts";
import { contentOf, OCI_MANIFEST, referrersIndex, smallImage } from "../support/image-builder.ts";
import { DAY_MS } from "../support/notation-certificates.ts";
import type {
  MintedNotation,
  NotationSigner,
  NotationSignerOptions,
  NotationSigningOptions,
} from "../support/notation-fixture.ts";
import { mintNotationSigner, NOTATION_SUBJECT } from "../support/notation-fixture.ts";
import { EXPIRY, look, NOW, SCHEME, set, targetOf } from "../support/notation-look.ts";
import type { Ran } from "../support/processes.ts";
import { run } from "../support/processes.ts";
import { push } from "../support/push-client.ts";
import { PASSWORD, RealRegistry, USER } from "../support/real-registry.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(300_000);

const TOOLS = toolOptions("notation", "docker-registry");
const FORMATS = ["jws", "cose"] as const;

t.test("envelopes that the real notation makes count", TOOLS, async (t) => {
  const home = t.testdir();
  await using registry = await RealRegistry.startWithPasswords();
  for (const key of ["rsa2048", "p384"] as const) {
    for (const format of FORMATS) {
      const signer = mintNotationSigner({
        key,
        issuedBy: key === "p384" ? "intermediate" : "itself",
      });
      const image = await pushImage(registry, `${key}-${format}`);
      const notation = new Notation(join(home, `${key}-${format}`), registry);
      await notation.addKey(signer);
      const options = ["--signature-format", format, "--expiry", "24h", "-m", "build=1"];
      const signed = await notation.run("sign", ...options, notation.reference(image));
      t.equal(signed.code, 0, signed.output);

      const envelope = await fetchEnvelope(registry, image);
      const minted: MintedNotation = {
        ...envelope,
        chainPem: signer.chainPem,
        rootPem: signer.rootPem,
      };
      const subject = subjectOf(image);
      t.equal(look(minted, { image: subject }), NOTATION_SUBJECT, `${key} ${format}`);
      t.equal(look(minted, { image: subject, subjects: ["C=US, O=acme"] }), NOTATION_SUBJECT);
      t.match(
        look(minted, { image: subject, subjects: ["O=else"] }),
        /whom the rule does not name/,
      );
      t.match(look(minted, { image: subject, nowMs: NOW + 2 * DAY_MS }), /^expired on/);
      t.match(look(minted), /about another image/);
      t.match(
        look(minted, { image: subject, roots: [mintNotationSigner().rootPem] }),
        /trust store/,
      );
    }
  }
});

interface Case {
  readonly what: string;
  readonly counts: boolean;
  /** Where the real one is less strict. */
  readonly countsForNotation?: boolean;
  readonly signer?: NotationSignerOptions;
  readonly signing?: Partial<NotationSigningOptions>;
}

/** Verdicts that both must reach. The library's tests forge more; each case here costs a process. */
const CASES: readonly Case[] = [
  { what: "the honest one", counts: true },
  {
    what: "a leaf that signed itself",
    counts: true,
    signer: { issuedBy: "itself", key: "rsa3072" },
  },
  { what: "a leaf by the root", counts: true, signer: { issuedBy: "root", key: "p521" } },
  { what: "an expiry to come", counts: true, signing: { expiry: new Date(NOW + DAY_MS) } },
  { what: "a signed header that is not critical", counts: true, signing: set({ x: 1 }) },
  {
    what: "an unknown critical header",
    counts: false,
    // "unknown critical attributes MUST cause signature verification to fail": we do as it says.
    countsForNotation: true,
    signing: set({ x: 1, crit: [SCHEME, "x"] }),
  },
  {
    what: "an expiry that has come",
    counts: false,
    signing: { expiry: new Date(NOW - 1000), signingTime: new Date(NOW - 60_000) },
  },
  {
    what: "an expiry that is not critical",
    counts: false,
    signing: set({ [EXPIRY]: new Date(NOW + DAY_MS) }),
  },
  { what: "another algorithm in name", counts: false, signing: set({ alg: "ES384" }) },
  { what: "another signature", counts: false, signing: { signature: () => Buffer.alloc(64, 1) } },
  {
    what: "an expired leaf",
    counts: false,
    signer: { leaf: { notBefore: new Date(NOW - 2 * DAY_MS), notAfter: new Date(NOW - DAY_MS) } },
  },
  {
    what: "a TLS server's leaf",
    counts: false,
    signer: { leaf: { extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"] } },
  },
  { what: "a leaf without key usage", counts: false, signer: { leaf: { keyUsage: null } } },
  {
    what: "a root that allows no intermediate",
    counts: false,
    signer: { root: { basicConstraints: { isAuthority: true, pathLength: 0 } } },
  },
  { what: "a leaf signed with SHA-1", counts: false, signer: { leaf: { hash: "sha1" } } },
  {
    what: "the root left out",
    counts: false,
    signing: { tamper: (parts) => ({ ...parts, certificates: parts.certificates.slice(0, -1) }) },
  },
  { what: "another subject", counts: false, signer: { subjectDN: "C=US, ST=WA, O=other" } },
];

t.test("the real notation comes to the same verdicts", TOOLS, async (t) => {
  const home = t.testdir();
  await using registry = await RealRegistry.startWithPasswords();
  for (const format of FORMATS) {
    for (const [index, { what, counts, countsForNotation = counts, ...how }] of CASES.entries()) {
      if (how.signing === undefined && FORMATS[index % 2] !== format) {
        continue; // chains are the same in both
      }
      const name = `${format}-${index}`;
      const image = await pushImage(registry, name);
      const signer = mintNotationSigner(how.signer);
      const minted = signer.sign({ format, target: targetOf(subjectOf(image)), ...how.signing });
      await pushSignature(registry, image, minted);
      const notation = new Notation(join(home, name), registry);
      await notation.trust(signer.rootPem, "C=US, ST=WA, O=acme");
      const verified = await notation.run("verify", notation.reference(image));
      t.equal(
        verified.code === 0,
        countsForNotation,
        `notation on ${what} ${format}: ${verified.output}`,
      );
      const subjects = ["C=US, ST=WA, O=acme"];
      const ours = look(minted, { image: subjectOf(image), subjects });
      t.equal(ours === NOTATION_SUBJECT, counts, `we on ${what} ${format}: ${ours}`);
    }
  }
});

interface PushedImage extends Content {
  readonly repository: string;
}

async function pushImage(registry: RealRegistry, repository: string): Promise<PushedImage> {
  const image = await smallImage(repository);
  await push(registry, repository, "v1", image);
  return { ...image.top, repository };
}

function subjectOf({ digest, mediaType, bytes }: Content): Subject {
  return { digest: parseDigest(digest), mediaType, sizeBytes: bytes.byteLength };
}

/** As Notation keeps it where there is no referrers API: signature specification, "OCI Signatures". */
async function pushSignature(
  registry: RealRegistry,
  image: PushedImage,
  minted: MintedNotation,
): Promise<void> {
  const config = contentOf("application/vnd.oci.empty.v1+json", Buffer.from("{}"));
  const layer = contentOf(minted.mediaType, minted.envelope);
  const describe = ({ mediaType, digest, bytes }: Content): object => {
    return { mediaType, digest, size: bytes.byteLength };
  };
  const thumbprints = minted.chainPem.map((pem) =>
    createHash("sha256")
      .update(Buffer.from(pem.replace(/-----.*-----/g, ""), "base64"))
      .digest("hex"),
  );
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: "application/vnd.cncf.notary.signature",
    config: describe(config),
    layers: [describe(layer)],
    subject: describe(image),
    annotations: { "io.cncf.notary.x509chain.thumbprint#S256": JSON.stringify(thumbprints) },
  };
  const top = contentOf(OCI_MANIFEST, Buffer.from(JSON.stringify(manifest)));
  const signature: Artifact = { top, manifests: [top], blobs: [config, layer] };
  await push(registry, image.repository, "signature", signature);
  await push(registry, image.repository, fallbackTag(image), referrersIndex([signature]));
}

function fallbackTag({ digest }: Content): string {
  return digest.replace(":", "-");
}

async function fetchEnvelope(
  registry: RealRegistry,
  image: PushedImage,
): Promise<Pick<MintedNotation, "envelope" | "mediaType">> {
  const authorization = await registry.authorize(image.repository);
  const base = `${registry.url}/v2/${image.repository}`;
  const get = async (path: string): Promise<Buffer> => {
    const accept =
      "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    const response = await fetch(`${base}/${path}`, { headers: { authorization, accept } });
    return Buffer.from(await response.arrayBuffer());
  };
  const index = JSON.parse((await get(`manifests/${fallbackTag(image)}`)).toString());
  const manifest = JSON.parse((await get(`manifests/${index.manifests[0].digest}`)).toString());
  const [layer] = manifest.layers;
  return { envelope: await get(`blobs/${layer.digest}`), mediaType: layer.mediaType };
}

/** The command line, with a folder of its own for keys, trust store and policy. */
class Notation {
  readonly #home: string;
  readonly #registry: RealRegistry;

  constructor(home: string, registry: RealRegistry) {
    this.#home = home;
    this.#registry = registry;
  }

  reference({ repository, digest }: PushedImage): string {
    return `${new URL(this.#registry.url).host}/${repository}@${digest}`;
  }

  async addKey({ keys, chainPem }: NotationSigner): Promise<void> {
    const keyPath = await this.#write(
      "key.pem",
      String(keys.privateKey.export({ type: "pkcs8", format: "pem" })),
    );
    const certPath = await this.#write("chain.pem", chainPem.join(""));
    const settings = { default: "test", keys: [{ name: "test", keyPath, certPath }] };
    await this.#write("notation/signingkeys.json", JSON.stringify(settings));
  }

  async trust(rootPem: string, subject: string): Promise<void> {
    await this.#write("notation/truststore/x509/ca/test/root.pem", rootPem);
    const policy = {
      name: "test",
      registryScopes: ["*"],
      signatureVerification: { level: "strict" },
      trustStores: ["ca:test"],
      trustedIdentities: [`x509.subject: ${subject}`],
    };
    const policies = { version: "1.0", trustPolicies: [policy] };
    await this.#write("notation/trustpolicy.json", JSON.stringify(policies));
  }

  run(command: string, ...args: readonly string[]): Promise<Ran> {
    const places = ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "DOCKER_CONFIG"];
    const env = Object.fromEntries(places.map((name) => [name, this.#home]));
    const access = ["--insecure-registry", "-u", USER, "-p", PASSWORD];
    return run("notation", [command, ...access, ...args], { cwd: this.#home, env });
  }

  async #write(path: string, text: string): Promise<string> {
    const file = join(this.#home, path);
    await mkdir(join(file, ".."), { recursive: true });
    await writeFile(file, text, { mode: 0o600 });
    return file;
  }
}
