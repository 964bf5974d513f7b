import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import { loadConfig } from "../../server/config/config.ts";
import { effectiveConfig } from "../../server/config/effective.ts";
import { policyFingerprints } from "../../server/config/effective-policy.ts";
import { configNotes } from "../../server/config/notes.ts";
import type { Settings } from "../../server/settings.ts";
import { POLICY_FILES } from "../support/policy-files.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

function load(t: Test, text: string): Settings {
  const file = join(t.testdir(POLICY_FILES), "sluice.yaml");
  writeFileSync(file, text);
  return loadConfig(file, {});
}

t.test("a policy holds what its files held, whoever changes them afterwards", async (t) => {
  const text = `policy:
  rules:
    - name: team
      match: [ghcr.io/acme/**]
      tags: { digestOnly: true }
      signatures:
        all:
          - keyless: { issuer: https://accounts.google.com, subjectGlob: "https://github.com/acme/**", trustedRootFile: trusted_root.json, log: ignore }
          - key: { file: cosign.pub }
          - notation: { trustStoreDir: ca, subjects: ["C=US, O=acme"] }
      attestations:
        - predicateType: https://slsa.dev/provenance/v1
          by: { keyless: { issuer: https://accounts.google.com, subject: a@acme.example } }
          builder: ["https://github.com/actions/runner/*"]
          source: ["git+https://github.com/acme/**"]
        - predicateType: https://cosign.sigstore.dev/attestation/vuln/v1
          by: { all: [{ key: { file: cosign.pub, log: ignore } }] }
          vulnerabilities: { scanner: ["https://trivy.example/**"], maxAgeDays: 7 }
      foreignLayers: allow
`;
  const { policy } = load(t, text);
  const folder = t.testdirName;
  const keyless = {
    kind: "keyless",
    issuer: "https://accounts.google.com",
    subject: { exact: "a@acme.example" },
    trustedRoot: "public-good",
    log: "require",
  };
  const key = {
    kind: "key",
    file: join(folder, "cosign.pub"),
    pem: POLICY_FILES["cosign.pub"],
    log: "require",
    trustedRoot: "public-good",
  };
  t.same(policy?.rules, [
    {
      name: "team",
      match: ["ghcr.io/acme/**"],
      mode: "enforce",
      tags: { semver: false, digestOnly: true },
      signatures: {
        require: "all",
        authorities: [
          {
            ...keyless,
            subject: { glob: "https://github.com/acme/**" },
            trustedRoot: {
              file: join(folder, "trusted_root.json"),
              json: POLICY_FILES["trusted_root.json"],
            },
            log: "ignore",
          },
          key,
          {
            kind: "notation",
            trustStoreDir: join(folder, "ca"),
            certificates: Object.values(Object(POLICY_FILES["ca"])).slice(0, 1),
            subjects: ["C=US, O=acme"],
          },
        ],
      },
      attestations: [
        {
          predicateType: "https://slsa.dev/provenance/v1",
          by: { require: "any", authorities: [keyless] },
          builder: ["https://github.com/actions/runner/*"],
          source: ["git+https://github.com/acme/**"],
        },
        {
          predicateType: "https://cosign.sigstore.dev/attestation/vuln/v1",
          by: { require: "all", authorities: [{ ...key, log: "ignore" }] },
          vulnerabilities: {
            scanner: ["https://trivy.example/**"],
            maxAgeSeconds: 604_800,
            refuse: [],
          },
        },
      ],
      children: "inherit",
      foreignLayers: "allow",
    },
  ]);
  t.same([policy?.unmatched, policy?.exceptions, policy?.deny], ["allow", [], []]);
});

t.test("off is a mode, and needs nothing to ask for", async (t) => {
  const text = "policy: { rules: [{ name: a, match: [ghcr.io/a], mode: off }] }\n";
  const { policy } = load(t, text);
  t.same(
    policy?.rules.map(({ mode }) => mode),
    ["off"],
  );
});

t.test("an exception counts until the end of its day, or until its time", async (t) => {
  const untils = [
    "2027-01-31",
    "2028-02-29",
    "2027-01-31T18:00:00+01:00",
    "2027-01-31t17:00:00.5z",
  ];
  const list = untils.map((until) => `{ match: [ghcr.io/a], until: ${until}, reason: x }`);
  const { policy } = load(t, `policy: { exceptions: [${list.join(", ")}] }\n`);
  t.same(
    policy?.exceptions.map(({ untilMs }) => new Date(untilMs).toISOString()),
    [
      "2027-02-01T00:00:00.000Z",
      "2028-03-01T00:00:00.000Z",
      "2027-01-31T17:00:00.000Z",
      "2027-01-31T17:00:00.500Z",
    ],
  );
});

t.test("each exception has a name of its own", async (t) => {
  const given = [
    "match: [ghcr.io/acme/app]",
    "match: [ghcr.io/acme/app]",
    "match: [ghcr.io/x], ticket: OPS-12",
    "match: [ghcr.io/x], ticket: OPS-12",
    "match: [ghcr.io/x], name: OPS-12-2",
    "match: [ghcr.io/x], ticket: '(?)'",
    `match: ["**"], digest: '${DIGEST}'`,
  ];
  const list = given.map((fields) => `{ ${fields}, until: 2027-01-31, reason: x }`);
  const { policy } = load(t, `policy: { exceptions: [${list.join(", ")}] }\n`);
  t.same(
    policy?.exceptions.map(({ name }) => name),
    [
      "ghcr.io-acme-app",
      "ghcr.io-acme-app-2",
      "OPS-12",
      "OPS-12-3",
      "OPS-12-2",
      "exception",
      "exception-2",
    ],
  );
});

t.test("a signer is denied whether he writes to the log or not", async (t) => {
  const text = `policy:
  deny:
    - { digest: "${DIGEST}", reason: compromised }
    - { signer: { key: { file: cosign.pub } }, reason: stolen }
`;
  const { policy } = load(t, text);
  t.match(policy?.deny, [
    { digest: DIGEST, reason: "compromised" },
    { signer: { kind: "key", log: "ignore" }, reason: "stolen" },
  ]);
});

t.test("certificates are read from PEM and DER, each once", async (t) => {
  const folder = t.testdir(POLICY_FILES);
  const pem = String(Object(POLICY_FILES["ca"])["acme.crt"]);
  const der = Buffer.from(pem.replace(/-----[^-]*-----/gu, ""), "base64");
  writeFileSync(join(folder, "ca", "same.der"), der);
  writeFileSync(join(folder, "ca", "bundle.pem"), `# two of them\n${pem}\n${pem}`);
  writeFileSync(
    join(folder, "sluice.yaml"),
    `policy:
  deny:
    - { signer: { notation: { trustStoreDir: ca, subjects: ["*"] } }, reason: gone }
`,
  );
  const { policy } = loadConfig(join(folder, "sluice.yaml"), {});
  t.match(policy?.deny, [{ signer: { certificates: [pem] } }]);
  t.same(Object(policy?.deny[0]).signer.certificates.length, 1);
});

t.test("decisions are written beside the data unless the file says where", async (t) => {
  const policy = "policy: { unmatched: deny }\n";
  const folder = t.testdirName;
  const standard = { maxBytes: 100 * 1024 ** 2, keep: 10 };
  t.equal(load(t, "listen: :0\nadmin: :0\n").audit, undefined);
  t.same(load(t, policy).audit, {
    target: { file: join(folder, "data", "audit.jsonl") },
    ...standard,
  });
  t.same(load(t, `${policy}audit: stdout\n`).audit, { target: "stdout", ...standard });
  t.same(load(t, "audit: { file: a.jsonl, maxBytes: 1MiB, keep: 2 }\n").audit, {
    target: { file: join(folder, "a.jsonl") },
    maxBytes: 1024 ** 2,
    keep: 2,
  });
  const file = join(folder, "sluice.yaml");
  writeFileSync(file, policy);
  t.match(loadConfig(file, { SLUICE_DATA: "/srv/there" }).audit, {
    target: { file: "/srv/there/audit.jsonl" },
  });
});

t.test("a mirror of TUF may be this machine, or Sigstore's own without a root", async (t) => {
  const local =
    "trust: { publicGood: tuf, tufMirror: http://127.0.0.1:1/, tufRootFile: root.json }\n";
  t.same(load(t, local).trust, {
    publicGood: "tuf",
    tufMirror: "http://127.0.0.1:1",
    tufRootFile: join(t.testdirName, "root.json"),
  });
  const own = "trust: { publicGood: tuf, tufMirror: https://tuf-repo-cdn.sigstore.dev }\n";
  t.match(load(t, own).trust, { tufMirror: "https://tuf-repo-cdn.sigstore.dev" });
  t.same(load(t, "listen: :0\nadmin: :0\n").trust, { publicGood: "bundled" });
});

t.test("what is in effect names files, and says what they hold by fingerprint", async (t) => {
  const text = `policy:
  rules:
    - name: team
      match: [ghcr.io/acme/**]
      mode: warn
      signatures:
        any:
          - key: { file: cosign.pub, trustedRootFile: trusted_root.json }
          - notation: { trustStoreDir: ca, subjects: ["*"] }
  exceptions:
    - { match: [ghcr.io/acme/old], until: 2020-01-31, reason: migration }
  deny:
    - { signer: { key: { file: cosign.pub } }, reason: stolen }
    - { signer: { keyless: { issuer: https://accounts.google.com, subject: a@acme.example, trustedRootFile: retired.json } }, reason: left }
`;
  const settings = load(t, text);
  const shown = effectiveConfig(settings);
  t.notMatch(shown, /BEGIN|mediaType/);
  t.match(shown, "cosign.pub");
  const { policy } = settings;
  t.match(policy === undefined ? [] : policyFingerprints(policy), [
    { file: /cosign\.pub$/, sha256: /^sha256:[0-9a-f]{64}$/ },
    { file: /trusted_root\.json$/ },
    { file: /\/ca$/, sha256: /^sha256:/ },
    { file: /retired\.json$/ },
  ]);
  t.same(configNotes(settings, Date.parse("2026-01-01T00:00:00Z")), [
    "exception ghcr.io-acme-old ended at 2020-02-01T00:00:00.000Z: it does not count any more",
    "rule team is in mode warn: it refuses nothing",
    `${join(t.testdirName, "retired.json")} names no certificate authority that is still valid`,
  ]);
});
