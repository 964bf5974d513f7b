// First, for the reflection that it brings: without it @peculiar/x509 refuses to load.
import "@sigstore/mock";
import { execFile } from "node:child_process";
import { webcrypto } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as x509 from "@peculiar/x509";
import t from "tap";
import { readCertificateNames, writeSubject } from "../../server/clients/certificate-names.ts";
import { Certificates } from "../../server/clients/certificates.ts";
import type { NameAttribute } from "../../server/policy/notation/distinguished-name.ts";
import { certificateOf, keyPairOf } from "../support/notation-certificates.ts";
import { GOOD_CERTIFICATE } from "../support/tls-fixture.ts";
import { toolOptions } from "../support/tools.ts";

const run = promisify(execFile);
const KEYS = keyPairOf("p256");
const SAN = "2.5.29.17";
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
const PAIR = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

function withSubject(subjectDN: readonly NameAttribute[]): Buffer {
  return certificateOf(KEYS.publicKey, { subjectDN: "CN=authority", keys: KEYS }, { subjectDN });
}

async function withExtensions(
  extensions: x509.Extension[],
  name: x509.JsonName = [{ CN: ["alice"] }],
): Promise<Buffer> {
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name,
    keys: PAIR,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(0),
    extensions,
  });
  return Buffer.from(certificate.rawData);
}

function san(...names: x509.JsonGeneralNames): x509.Extension {
  return new x509.SubjectAlternativeNameExtension(names);
}

/** A SAN of one GeneralName, as a hostile authority writes it. */
function rawSan(tag: number, value: string | Buffer): x509.Extension {
  const bytes = Buffer.from(value);
  const name = Buffer.concat([Buffer.from([tag, bytes.byteLength]), bytes]);
  const list = Buffer.concat([Buffer.from([0x30, name.byteLength]), name]);
  return new x509.Extension(SAN, false, list);
}

const bySubject = (raw: Buffer) => new Certificates("subject").identify({ isTrusted: true, raw });
const bySan = (raw: Buffer) => new Certificates("san").identify({ isTrusted: true, raw });

t.test("the CN is the name, organisations are groups, as in Kubernetes", async (t) => {
  const raw = withSubject([
    { type: "C", value: "DE" },
    { type: "O", value: "system:nodes" },
    { type: "O", value: "team-a" },
    { type: "OU", value: "build" },
    { type: "CN", value: "system:node:node-1" },
  ]);
  t.same(bySubject(raw), {
    name: "system:node:node-1",
    names: ["system:node:node-1", "CN=system:node:node-1,OU=build,O=team-a,O=system:nodes,C=DE"],
    groups: ["system:nodes", "team-a"],
    method: "certificate",
  });
  const several = await withExtensions([], [{ O: ["acme"] }, { CN: ["alice"], OU: ["build"] }]);
  t.match(bySubject(several), { names: ["alice", "CN=alice+OU=build,O=acme"] });
});

t.test("no value can look like another attribute", (t) => {
  const cases: readonly [value: string, written: string][] = [
    ["alice,O=admins", "CN=alice\\,O=admins"],
    ["alice+O=admins", "CN=alice\\+O=admins"],
    ['"alice",O=admins', 'CN=\\"alice\\"\\,O=admins'],
    ["alice\\,O=admins", "CN=alice\\\\\\,O=admins"],
    [" alice", "CN=\\ alice"],
    ["alice ", "CN=alice\\ "],
    ["#616263", "CN=\\#616263"],
    ["<alice>;", "CN=\\<alice\\>\\;"],
    ["a=b", "CN=a=b"],
    ["jürgen", "CN=jürgen"],
  ];
  for (const [value, written] of cases) {
    const identity = bySubject(withSubject([{ type: "CN", value }]));
    t.same(identity, { name: value, names: [value, written], groups: [], method: "certificate" });
  }
  const hidden = withSubject([
    { type: "CN", value: "alice" },
    { type: "OU", value: "x\nO=admins\0" },
  ]);
  t.same(bySubject(hidden)?.names, ["alice", "OU=x\\0aO=admins\\00,CN=alice"]);
  t.same(bySubject(hidden)?.groups, []);
  const odd = withSubject([
    { type: "1.2.3.4", value: "x" },
    { type: "CN", value: "alice" },
  ]);
  t.same(bySubject(odd)?.names, ["alice", "CN=alice,1.2.3.4=#0c0178"]);
  t.end();
});

t.test("alternative names are names, the first URI before all others", async (t) => {
  const raw = await withExtensions([
    san(
      { type: "ip", value: "2001:db8::1" },
      { type: "email", value: "alice@team.example" },
      { type: "dns", value: "node-1.team.example" },
      { type: "url", value: "spiffe://team.example/ns/a/sa/b" },
      { type: "ip", value: "10.0.0.7" },
      { type: "dns", value: "*.team.example" },
    ),
  ]);
  t.same(bySan(raw), {
    name: "spiffe://team.example/ns/a/sa/b",
    names: [
      "spiffe://team.example/ns/a/sa/b",
      "node-1.team.example",
      "*.team.example",
      "alice@team.example",
      "2001:db8::1",
      "10.0.0.7",
    ],
    groups: [],
    method: "certificate",
  });
});

t.test("a certificate that names nobody for sure is nobody's", async (t) => {
  const long = "a".repeat(600);
  const subjects: readonly [subject: readonly NameAttribute[], reason: RegExp][] = [
    [[{ type: "O", value: "acme" }], /no CN/],
    [[], /no CN/],
    [
      [
        { type: "CN", value: "alice" },
        { type: "CN", value: "root" },
      ],
      /more than one CN/,
    ],
    [[{ type: "CN", value: "" }], /CN of the client's certificate is empty/],
    [[{ type: "CN", value: "alice\nO=admins" }], /control or invisible/],
    [[{ type: "CN", value: "alice\0.evil" }], /control or invisible/],
    [[{ type: "CN", value: "\u202eecila" }], /control or invisible/],
    [[{ type: "CN", value: long }], /longer than 512/],
    [
      [
        { type: "CN", value: "alice" },
        { type: "O", value: "a\rb" },
      ],
      /the O of the client's certificate/,
    ],
    [Array.from({ length: 65 }, () => ({ type: "O", value: "a" })), /cannot be read/],
  ];
  for (const [subject, message] of subjects) {
    t.throws(() => bySubject(withSubject(subject)), { name: "LogInProblem", message });
  }
  const dns = san({ type: "dns", value: "a.example" });
  const many = Array.from({ length: 65 }, () => ({ type: "dns", value: "a" }) as const);
  const alternatives: readonly [extensions: x509.Extension[], reason: RegExp][] = [
    [[], /no alternative name/],
    [[rawSan(0x82, "good.example\0.evil")], /cannot be read/],
    [[rawSan(0x82, "good.example\nroot")], /cannot be read/],
    [[rawSan(0x82, "good .example")], /cannot be read/],
    [[rawSan(0x82, Buffer.from([0xe4]))], /cannot be read/],
    [[rawSan(0x82, "")], /cannot be read/],
    [[rawSan(0x86, "spiffe://team.example/\u202ex")], /cannot be read/],
    [[rawSan(0x87, Buffer.alloc(5))], /cannot be read/],
    [[rawSan(0x87, Buffer.alloc(0))], /cannot be read/],
    [[rawSan(0x88, Buffer.from([0x2a, 0x03]))], /no alternative name/],
    [[dns, rawSan(0x82, "b.example")], /cannot be read/],
    [[new x509.Extension(SAN, false, Buffer.from("junk"))], /cannot be read|no alternative/],
    [[san(...many)], /cannot be read/],
  ];
  for (const [extensions, message] of alternatives) {
    const raw = await withExtensions(extensions);
    t.throws(() => bySan(raw), { name: "LogInProblem", message });
  }
  const good = await withExtensions([dns]);
  for (const raw of [
    Buffer.alloc(0),
    Buffer.from("junk"),
    good.subarray(0, 80),
    Buffer.alloc(70_000),
  ]) {
    t.throws(() => bySan(raw), { message: /cannot be read/ });
  }
});

t.test("a certificate that nobody vouches for is nobody's", (t) => {
  const raw = withSubject([{ type: "CN", value: "alice" }]);
  t.equal(new Certificates("subject").identify({ isTrusted: false, raw }), undefined);
  t.equal(new Certificates("subject").identify(undefined), undefined);
  t.end();
});

t.test("a subject is written as OpenSSL writes it", toolOptions("openssl"), async (t) => {
  const raw = withSubject([
    { type: "DC", value: "example" },
    { type: "C", value: "US" },
    { type: "O", value: 'acme, "inc" <x>; a\\b' },
    { type: "OU", value: "#a+b=c " },
    { type: "E", value: "alice@team.example" },
    { type: "CN", value: "alice" },
  ]);
  const file = join(t.testdir({}), "certificate.der");
  const args = ["-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253"];
  for (const der of [
    raw,
    Buffer.from(GOOD_CERTIFICATE.cert.replace(/-----.*-----/g, ""), "base64"),
  ]) {
    await writeFile(file, der);
    const { stdout } = await run("openssl", ["x509", "-in", file, ...args]);
    t.equal(`subject=${writeSubject(readCertificateNames(der))}`, stdout.trimEnd());
  }
});
