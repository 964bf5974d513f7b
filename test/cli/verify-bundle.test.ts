import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { run } from "../support/processes.ts";

const MAIN = join(import.meta.dirname, "../../server/main.ts");
const CASES = join(import.meta.dirname, "../data/sigstore-conformance/bundle-verify");
const IDENTITY =
  "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER = "https://token.actions.githubusercontent.com";
const KEYLESS = ["--certificate-identity", IDENTITY, "--certificate-oidc-issuer", ISSUER];
const ARTIFACT = join(CASES, "a.txt");

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function verifyBundle(...args: readonly string[]): Promise<Ended> {
  const env = { PATH: process.env["PATH"] };
  const ran = await run(process.execPath, [MAIN, "verify-bundle", ...args], { env });
  return { code: ran.code, stdout: ran.stdout, stderr: ran.output.replace(ran.stdout, "") };
}

function fileOf(name: string, file = "bundle.sigstore.json"): string {
  return join(CASES, name, file);
}

t.test("a bundle is verified for a file, with the public good root or another", async (t) => {
  const signed = { code: 0, stdout: `signed by ${IDENTITY} (issuer ${ISSUER})\n`, stderr: "" };
  const bundle = ["--bundle", fileOf("happy-path-v0.3")];
  t.same(await verifyBundle(...bundle, ...KEYLESS, ARTIFACT), signed);

  const custom = "rekor2-happy-path";
  const root = ["--trusted-root", fileOf(custom, "trusted_root.json")];
  t.same(await verifyBundle("--bundle", fileOf(custom), ...KEYLESS, ...root, ARTIFACT), signed);

  const managed = "managed-key-happy-path";
  const key = ["--key", fileOf(managed, "key.pub")];
  const byKey = await verifyBundle("--bundle", fileOf(managed), ...key, ARTIFACT);
  t.match(byKey, { code: 0, stdout: /^signed by key sha256:[0-9a-f]{64}\n$/, stderr: "" });
});

t.test("what a statement names may be given by its digest", async (t) => {
  const bundle = ["--bundle", fileOf("happy-path-intoto-in-dsse-v3"), ...KEYLESS];
  const digest = `sha256:${createHash("sha256").update(readFileSync(ARTIFACT)).digest("hex")}`;
  t.match(await verifyBundle(...bundle, digest), { code: 0, stderr: "" });
  const other = `sha256:${"0".repeat(64)}`;
  t.match(await verifyBundle(...bundle, other), { code: 1, stderr: /is about sha256:.*another/ });

  const message = ["--bundle", fileOf("happy-path-v0.3"), ...KEYLESS];
  const stderr = /is over a file's bytes: give the file, its digest is not enough\n$/;
  t.match(await verifyBundle(...message, digest), { code: 1, stdout: "", stderr });
});

t.test("what is refused ends with 1 and a reason in one line", async (t) => {
  const bundle = fileOf("happy-path-v0.3");
  const refused: readonly (readonly [args: readonly string[], stderr: RegExp])[] = [
    [
      ["--bundle", fileOf("signature-mismatch_fail"), ...KEYLESS, ARTIFACT],
      /for another signature/,
    ],
    [
      ["--bundle", bundle, ...KEYLESS.slice(0, 3), "https://evil.example", ARTIFACT],
      /was signed by .*, the rule asks for .*evil\.example/,
    ],
    [["--bundle", bundle, ...KEYLESS, bundle], /is about other bytes/],
    [["--bundle", ARTIFACT, ...KEYLESS, ARTIFACT], /its bundle is not JSON/],
    [["--bundle", "absent.json", ...KEYLESS, ARTIFACT], /ENOENT.*absent\.json/],
    [["--bundle", bundle, ...KEYLESS, "absent.txt"], /ENOENT.*absent\.txt/],
    [["--bundle", bundle, "--key", ARTIFACT, ARTIFACT], /the key has 0 PEM blocks/],
    [["--bundle", bundle, ...KEYLESS, "--trusted-root", ARTIFACT, ARTIFACT], /the trusted root/],
  ];
  for (const [args, stderr] of refused) {
    const ended = await verifyBundle(...args);
    t.match(ended, { code: 1, stdout: "", stderr }, args.join(" "));
    t.match(ended.stderr, /^sluice: [^\n]+\n$/, "one line");
  }
});

t.test("wrong usage ends with 2", async (t) => {
  const bundle = ["--bundle", fileOf("happy-path-v0.3")];
  const wrong: readonly (readonly [args: readonly string[], stderr: RegExp])[] = [
    [[...KEYLESS, ARTIFACT], /--bundle/],
    [[...bundle, ...KEYLESS], /missing required argument/],
    [[...bundle, ARTIFACT], /--key is needed, or --certificate-identity/],
    [[...bundle, ...KEYLESS.slice(0, 2), ARTIFACT], /--key is needed, or/],
    [[...bundle, ...KEYLESS.slice(0, 3), "", ARTIFACT], /--key is needed, or/],
    [[...bundle, ...KEYLESS, "--key", "k.pub", ARTIFACT], /--key goes without/],
  ];
  for (const [args, stderr] of wrong) {
    t.match(await verifyBundle(...args), { code: 2, stdout: "", stderr }, args.join(" "));
  }
});
