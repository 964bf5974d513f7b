import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import t from "tap";
import { POLICY_LIMITS } from "../../server/limits.ts";
import { bundledPublicGoodRoot } from "../../server/policy/trust/public-good-root.ts";
import { checkPublicKey, checkTrustedRoot } from "../../server/policy/trust/trusted-root.ts";

const ALL = { log: true, certificates: true, timestamps: true };
const NONE = { log: false, certificates: false, timestamps: false };

interface RootJson {
  mediaType: string;
  tlogs: LogJson[];
  ctlogs: LogJson[];
  certificateAuthorities: AuthorityJson[];
  timestampAuthorities: AuthorityJson[];
}

interface LogJson {
  publicKey: { rawBytes: string; validFor?: { start?: string | null; end?: string | null } };
  logId?: { keyId: string };
}

interface AuthorityJson {
  certChain: { certificates: { rawBytes: string }[] };
  validFor: { start?: string };
}

function edited(edit: (root: RootJson) => void): string {
  const root = JSON.parse(bundledPublicGoodRoot()) as RootJson;
  edit(root);
  return JSON.stringify(root);
}

t.test("checking a configuration loads nothing of Sigstore's libraries", async (t) => {
  const loaded = Object.keys(createRequire(import.meta.url).cache);
  t.same(
    loaded.filter((file) =>
      /@sigstore\/(?:verify|bundle|core|protobuf-specs|tuf)\/dist/.test(file),
    ),
    [],
  );
});

t.test("Sigstore's own root, as bundled, has all that a rule may need", async (t) => {
  t.equal(checkTrustedRoot(bundledPublicGoodRoot(), ALL), undefined);
  t.equal(bundledPublicGoodRoot(), bundledPublicGoodRoot());
});

t.test("a root that says less than it must is refused, in words", async (t) => {
  const wrong: readonly (readonly [root: string, problem: RegExp])[] = [
    ["", /^cannot be read: the file is not JSON$/],
    ["[]", /^cannot be read: the file is not a JSON object$/],
    ["{}", /^is no Sigstore trusted root: its mediaType is ''$/],
    [`{"a":"${"x".repeat(POLICY_LIMITS.candidateBytesMax)}"}`, /^cannot be read: .* larger/],
    [
      edited((root) => {
        delete root.tlogs[0]?.publicKey.validFor?.start;
      }),
      /tlogs\[0\] does not say since when its key is valid/,
    ],
    [
      edited(({ ctlogs: [log] }) => {
        if (log !== undefined) {
          log.publicKey.validFor = { start: null };
        }
      }),
      /ctlogs\[0\] does not say since when its key is valid/,
    ],
    [
      edited(({ tlogs: [log] }) => {
        if (log !== undefined) {
          log.publicKey.validFor = { start: "yesterday" };
        }
      }),
      /tlogs\[0\] has a date that is none: publicKey\.validFor\.start/,
    ],
    [
      edited(({ tlogs: [log] }) => {
        if (log !== undefined) {
          log.publicKey.rawBytes = "AAAA";
        }
      }),
      /tlogs\[0\] has no public key that can be read/,
    ],
    [
      edited(({ certificateAuthorities: [authority] }) => {
        authority?.certChain.certificates.push({ rawBytes: "AAAA" });
      }),
      /certificateAuthorities\[0\] has a certificate that cannot be read/,
    ],
    [
      edited(({ timestampAuthorities: [authority] }) => {
        authority?.certChain.certificates.splice(0);
      }),
      /timestampAuthorities\[0\] has 0 certificates/,
    ],
    [edited((root) => root.tlogs.push(...Array(100).fill({}))), /has 10\d tlogs, at most 64/],
    [edited((root) => root.tlogs.splice(0)), /^names no transparency log \(Rekor\) \(tlogs\)$/],
    [edited((root) => root.ctlogs.splice(0)), /^names no certificate transparency log/],
    [edited((root) => root.certificateAuthorities.splice(0)), /^names no certificate authority/],
    [edited((root) => root.timestampAuthorities.splice(0)), /^names no timestamp authority/],
    [JSON.stringify({ ...JSON.parse(bundledPublicGoodRoot()), tlogs: {} }), /not a list/],
  ];
  for (const [root, problem] of wrong) {
    t.match(checkTrustedRoot(root, ALL), problem);
  }
});

t.test("what a rule does not need may be absent", async (t) => {
  const empty = JSON.stringify({
    mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
  });
  t.equal(checkTrustedRoot(empty, NONE), undefined);
  const unlogged = edited((root) => {
    root.tlogs.splice(0);
    root.ctlogs.splice(0);
  });
  t.equal(checkTrustedRoot(unlogged, { ...ALL, log: false }), undefined);
});

t.test("public keys that signatures can be verified with", async (t) => {
  const pemOf = (type: "rsa" | "rsa-pss", modulusLength: number): string =>
    spki(generateKeyPairSync(type as "rsa", { modulusLength }).publicKey);
  const ecOf = (namedCurve: string): string =>
    spki(generateKeyPairSync("ec", { namedCurve }).publicKey);
  const good = [
    ...["prime256v1", "secp384r1", "secp521r1"].map(ecOf),
    pemOf("rsa", 2048),
    pemOf("rsa-pss", 2048),
    spki(generateKeyPairSync("ed25519").publicKey),
    `a comment before it\n${ecOf("prime256v1")}`,
  ];
  for (const pem of good) {
    t.equal(checkPublicKey(pem), undefined);
  }
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;
  const certificate = readFileSync(
    join(import.meta.dirname, "../data/containers-image/pki_root_crts.pem"),
    "utf8",
  );
  const wrong: readonly (readonly [pem: string, problem: RegExp])[] = [
    ["", /^has 0 PEM blocks, expected one public key$/],
    [spki(publicKey) + spki(publicKey), /^has 2 PEM blocks/],
    [privateKey.export({ type: "pkcs8", format: "pem" }).toString(), /^is a private key/],
    [privateKey.export({ type: "sec1", format: "pem" }).toString(), /^is a private key/],
    [certificate, /^is a certificate, expected a PEM public key/],
    [rsa.export({ type: "pkcs1", format: "pem" }).toString(), /^is a rsa public key, expected/],
    ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", /^is no public key that can/],
    [pemOf("rsa", 1024), /^is an RSA key of 1024 bits, expected 2048 or more$/],
    [ecOf("secp256k1"), /^is on the curve secp256k1, expected P-256, P-384 or P-521$/],
    [spki(generateKeyPairSync("x25519").publicKey), /^is a key of type x25519, expected EC, RSA/],
  ];
  for (const [pem, problem] of wrong) {
    t.match(checkPublicKey(pem), problem);
  }
});

function spki(key: ReturnType<typeof generateKeyPairSync>["publicKey"]): string {
  return key.export({ type: "spki", format: "pem" }).toString();
}
