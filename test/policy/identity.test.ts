import t from "tap";
import {
  checkUsage,
  identityOf,
  parseCertificate,
} from "../../server/policy/sigstore/certificate.ts";
import { checkIdentity, expectIdentity } from "../../server/policy/sigstore/identity.ts";

const issuer = "https://token.actions.githubusercontent.com";
const RELEASE = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main";

t.test("an exact identity is that text and no other", async (t) => {
  const expected = expectIdentity({ issuer, subject: { exact: RELEASE } });
  t.ok(expected.matches({ subject: RELEASE, issuer }));
  t.notOk(expected.matches({ subject: `${RELEASE}-attacker`, issuer }));
  t.notOk(expected.matches({ subject: `https://evil.example/?${RELEASE}`, issuer }));
  t.notOk(expected.matches({ subject: RELEASE.replace("github.com", "githubXcom"), issuer }));
  t.notOk(expected.matches({ subject: RELEASE.toUpperCase(), issuer }));
  t.notOk(expected.matches({ subject: "", issuer }));
  t.notOk(expected.matches({ subject: RELEASE, issuer: `${issuer}/` }));
  t.notOk(expected.matches({ subject: RELEASE, issuer: "" }));
  t.equal(expected.name, `${RELEASE} (issuer ${issuer})`);
});

t.test("stars in an exact identity are stars", async (t) => {
  const expected = expectIdentity({ issuer, subject: { exact: "https://a.example/*" } });
  t.notOk(expected.matches({ subject: "https://a.example/b", issuer }));
  t.ok(expected.matches({ subject: "https://a.example/*", issuer }));
});

t.test("a glob is anchored, and a star stops at a slash", async (t) => {
  const glob = "https://github.com/acme/*/.github/workflows/*@refs/heads/main";
  const cases: readonly (readonly [glob: string, subject: string, matches: boolean])[] = [
    [glob, RELEASE, true],
    [glob, `${RELEASE}2`, false],
    [glob, `x${RELEASE}`, false],
    [glob, RELEASE.replace("acme/app", "acme/app/evil"), false],
    [glob, RELEASE.replace("github.com", "githubXcom"), false],
    [glob, RELEASE.replace("acme/app", "acme/"), true],
    ["https://github.com/acme/**", RELEASE, true],
    ["https://github.com/acme/**", "https://github.com/acme-evil/x", false],
    ["*@acme.example", "ann@acme.example", true],
    ["*@acme.example", "ann@acme.example.evil.example", false],
    ["*@acme.example", "https://evil.example/@acme.example", false],
    ["[a-z]+@acme.example", "ann@acme.example", false],
  ];
  for (const [pattern, subject, matches] of cases) {
    const expected = expectIdentity({ issuer, subject: { glob: pattern } });
    t.equal(expected.matches({ subject, issuer }), matches, `${pattern} ${subject}`);
    t.notOk(expected.matches({ subject, issuer: "https://evil.example" }), "the issuer counts too");
  }
});

t.test("a mismatch names who signed and who should have, on one line", async (t) => {
  const expected = expectIdentity({ issuer, subject: { glob: "*@acme.example" } });
  const evil = { subject: `eve\r\nX: y\u202e${"e".repeat(1000)}`, issuer };
  try {
    checkIdentity(evil, expected);
    t.fail("it matched");
  } catch (error) {
    const { message } = error as Error;
    t.match(
      message,
      /^was signed by eve\?\?X: y\?e+\.\.\. \(issuer .*, the rule asks for \*@acme\.ex/,
    );
    t.ok(message.length < 600);
  }
});

const SUBJECT_ALT_NAME = Buffer.from("0603551d11", "hex");
const OIDC_ISSUER = Buffer.from("060a2b0601040183bf300108", "hex");
const FULCIO_USERNAME = Buffer.from("060a2b0601040183bf300107", "hex");
const MICROSOFT_UPN = Buffer.from("060a2b060104018237140203", "hex");

t.test("a certificate's name is read as it is: all kinds that Fulcio writes", async (t) => {
  const names: readonly (readonly [name: Buffer, subject: string | RegExp])[] = [
    [der(0x81, "ann@acme.example"), "ann@acme.example"],
    [der(0x86, RELEASE), RELEASE],
    [otherName(FULCIO_USERNAME, "ann"), "ann"],
    [otherName(MICROSOFT_UPN, "ann"), /for neither an e-mail address nor a URI/],
    [der(0x82, "acme.example"), /for neither an e-mail address nor a URI/],
    [Buffer.concat([der(0x81, "a@a"), der(0x86, "b:b")]), /its certificate has 2 names/],
    [Buffer.alloc(0), /its certificate has 0 names/],
    // With the high bits dropped it would be another's.
    [
      der(
        0x81,
        Buffer.from("eve@acme.example").map((byte) => byte | 0x80),
      ),
      /name is not text/,
    ],
  ];
  for (const [name, subject] of names) {
    const certificate = certificateWith([SUBJECT_ALT_NAME, der(0x30, name)]);
    if (typeof subject === "string") {
      t.same(identityOf(certificate), { subject, issuer });
    } else {
      t.throws(() => identityOf(certificate), { name: "SignatureProblem", message: subject });
    }
  }
});

const KEY_USAGE = Buffer.from("0603551d0f", "hex");
const EXTENDED_KEY_USAGE = Buffer.from("0603551d25", "hex");
const DIGITAL_SIGNATURE = Buffer.from("03020780", "hex");
const KEY_CERT_SIGN = Buffer.from("03020204", "hex");
const CODE_SIGNING = Buffer.from("06082b06010505070303", "hex");
const SERVER_AUTH = Buffer.from("06082b06010505070301", "hex");

t.test("a certificate says what it may be used for, and must say signing code", async (t) => {
  const both = der(0x30, Buffer.concat([SERVER_AUTH, CODE_SIGNING]));
  const code = der(0x30, CODE_SIGNING);
  const cases: readonly (readonly [extensions: (readonly [Buffer, Buffer])[], problem?: RegExp])[] =
    [
      [
        [
          [KEY_USAGE, DIGITAL_SIGNATURE],
          [EXTENDED_KEY_USAGE, code],
        ],
      ],
      [
        [
          [KEY_USAGE, DIGITAL_SIGNATURE],
          [EXTENDED_KEY_USAGE, both],
        ],
      ],
      [
        [
          [KEY_USAGE, KEY_CERT_SIGN],
          [EXTENDED_KEY_USAGE, code],
        ],
        /no key usage digitalSignature/,
      ],
      [[[EXTENDED_KEY_USAGE, code]], /no key usage digitalSignature/],
      [[[KEY_USAGE, DIGITAL_SIGNATURE]], /no extended usage codeSigning/],
      [
        [
          [KEY_USAGE, DIGITAL_SIGNATURE],
          [EXTENDED_KEY_USAGE, der(0x30, SERVER_AUTH)],
        ],
        /no extended usage codeSigning/,
      ],
    ];
  for (const [extensions, message] of cases) {
    const check = (): void => checkUsage(certificateWith(...extensions));
    if (message === undefined) {
      t.doesNotThrow(check);
    } else {
      t.throws(check, { name: "SignatureProblem", message });
    }
  }
});

/** No more of a certificate than its extensions. */
function certificateWith(
  ...extensions: readonly (readonly [oid: Buffer, value: Buffer])[]
): ReturnType<typeof parseCertificate> {
  const all = [...extensions, [OIDC_ISSUER, der(0x0c, issuer)] as const];
  const encoded = all.map(([oid, value]) => der(0x30, Buffer.concat([oid, der(0x04, value)])));
  const list = der(0xa3, der(0x30, Buffer.concat(encoded)));
  return parseCertificate(der(0x30, der(0x30, list)));
}

function otherName(oid: Buffer, text: string): Buffer {
  return der(0xa0, Buffer.concat([oid, der(0xa0, der(0x0c, text))]));
}

/** Tag, length in as few bytes as DER wants, value. */
function der(tag: number, value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value);
  const size = bytes.length;
  const long = size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255];
  return Buffer.concat([Buffer.from([tag, ...(size < 128 ? [size] : long)]), bytes]);
}
