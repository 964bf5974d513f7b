import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { JWTPayload } from "jose";
import { exportSPKI, SignJWT } from "jose";
import t from "tap";
import { Tokens } from "../../server/clients/tokens.ts";
import { ACCESS_LIMITS } from "../../server/limits.ts";
import {
  base64url,
  GOOD,
  ISSUER,
  MAIN,
  openTokens,
  START,
  STRANGER,
  sign,
  signerOf,
  signText,
  tokenSettings,
} from "./token-rig.ts";

/** For a test: TAP is lines of text. */
function nameOf(value: unknown): string {
  return JSON.stringify(value)
    .slice(0, 200)
    .replace(/[^\x20-\x7e]/g, "?");
}

t.test("tokens are taken of every kind of key, with a key id and without", async (t) => {
  const algorithms = ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"];
  for (const kid of ["k", undefined]) {
    const signers = await Promise.all(algorithms.map((alg) => signerOf(alg, kid && kid + alg)));
    const { tokens } = await openTokens(
      t,
      [{}],
      signers.map(({ jwk }) => jwk),
    );
    for (const signer of signers) {
      t.match(await tokens.identify(await sign(GOOD, signer)), { name: "alice", method: "token" });
    }
  }
  const twins = await Promise.all(["ES256", "ES256", "ES256"].map((alg) => signerOf(alg)));
  const { tokens, refusalOf } = await openTokens(
    t,
    [{}],
    twins.map(({ jwk }) => jwk),
  );
  for (const twin of twins) {
    t.match(await tokens.identify(await sign(GOOD, twin)), { name: "alice" });
  }
  t.match(await refusalOf(await sign(GOOD, await signerOf("ES256"))), /signature .* is wrong/);
  t.match(await refusalOf(await sign({ ...GOOD, exp: START - 60 }, twins[1])), /expired at 2025/);
});

t.test("who it is about, and their groups", async (t) => {
  const { tokens } = await openTokens(t, [{ nameClaim: "email" }, { issuer: "k8s" }]);
  const claims = { ...GOOD, email: "alice@team.example" };
  const cases: readonly [claims: JWTPayload, name: string, groups: readonly string[]][] = [
    [claims, "alice@team.example", []],
    [{ ...claims, groups: "team-a" }, "alice@team.example", ["team-a"]],
    [{ ...claims, groups: ["team-a", "ops"] }, "alice@team.example", ["team-a", "ops"]],
    [{ ...claims, groups: [] }, "alice@team.example", []],
    [{ ...claims, aud: ["other", "sluice"] }, "alice@team.example", []],
    [
      { ...GOOD, iss: "k8s", sub: "system:serviceaccount:team-a:default" },
      "system:serviceaccount:team-a:default",
      ["system:serviceaccounts", "system:serviceaccounts:team-a"],
    ],
    [
      { ...GOOD, iss: "k8s", sub: "system:serviceaccount:a:b:c" },
      "system:serviceaccount:a:b:c",
      [],
    ],
  ];
  for (const [payload, name, groups] of cases) {
    const identity = await tokens.identify(await sign(payload));
    t.same(identity, { name, names: [name], groups, method: "token" });
  }
});

t.test("a token that says what it should not is refused, with the reason", async (t) => {
  const { refusalOf } = await openTokens(t);
  const odd = (claims: object): JWTPayload => ({ ...GOOD, ...claims });
  const without = (claim: string): JWTPayload =>
    Object.fromEntries(Object.entries(GOOD).filter(([name]) => name !== claim));
  const cases: readonly [claims: JWTPayload, reason: RegExp][] = [
    [odd({ exp: START - 31 }), /expired at 2025-12-31T23:59:29.000Z; get a new one/],
    [odd({ exp: -1e300 }), /expired at no time/],
    [odd({ exp: "2099-01-01" }), /exp of the token is not/],
    [without("exp"), /no exp/],
    [odd({ nbf: START + 31 }), /not valid yet, only at 2026-01-01T00:00:31/],
    [odd({ nbf: "soon" }), /nbf of the token is not/],
    [odd({ iat: START + 31 }), /issued in the future/],
    [odd({ iat: "now" }), /iat of the token is not/],
    [odd({ aud: "other" }), /another audience than sluice/],
    [odd({ aud: "Sluice" }), /another audience/],
    [odd({ aud: "sluice " }), /another audience/],
    [odd({ aud: [] }), /another audience/],
    [odd({ aud: [["sluice"]] }), /another audience/],
    [odd({ aud: { sluice: true } }), /another audience/],
    [without("aud"), /no aud/],
    [odd({ iss: `${ISSUER}/` }), /issuer that is not configured/],
    [odd({ iss: "https://issuer.examplе" }), /issuer that is not configured/],
    [odd({ iss: "__proto__" }), /issuer that is not configured/],
    [odd({ iss: [ISSUER] }), /no issuer/],
    [without("iss"), /no issuer/],
    [without("sub"), /no sub/],
    [odd({ sub: "" }), /sub of the token is empty/],
    [odd({ sub: " " }), /is empty/],
    [odd({ sub: 7 }), /no sub/],
    [odd({ sub: ["alice"] }), /no sub/],
    [odd({ sub: "a".repeat(513) }), /longer than 512/],
    [odd({ sub: "alice\nroot" }), /control or invisible/],
    [odd({ sub: "alice\u202e" }), /control or invisible/],
    [odd({ sub: "ali\u200bce" }), /control or invisible/],
    [odd({ sub: "alice\u2028" }), /control or invisible/],
    [odd({ groups: { a: 1 } }), /groups of the token is no text/],
    [odd({ groups: [["team"]] }), /groups of the token is no text/],
    [odd({ groups: [7] }), /groups of the token is no text/],
    [odd({ groups: ["ok", "a\0b"] }), /control or invisible/],
    [odd({ groups: Array(513).fill("g") }), /more than 512 groups/],
  ];
  for (const [claims, reason] of cases) {
    t.match(await refusalOf(await sign(claims)), reason, nameOf(claims));
  }
  t.equal(await refusalOf(await sign(odd({ exp: START - 29 }))), undefined, "clocks go apart");
});

t.test("a token that nobody has signed is refused", async (t) => {
  const { refusalOf } = await openTokens(t);
  const good = await sign(GOOD);
  const [header = "", payload = "", signature = ""] = good.split(".");
  const secret = new TextEncoder().encode(await exportSPKI(MAIN.publicKey));
  const hs256 = await new SignJWT(GOOD).setProtectedHeader({ alg: "HS256" }).sign(secret);
  const none = base64url('{"alg":"none"}');
  const other = base64url(JSON.stringify({ ...GOOD, sub: "root" }));
  const twice = JSON.stringify(GOOD).replace("}", ',"sub":"root"}');
  const escaped = JSON.stringify(GOOD).replace("}", ',"\\u0073ub":"root"}');
  const cases: readonly [token: string, reason: RegExp][] = [
    [await sign(GOOD, STRANGER), /signature of the token is wrong/],
    [await sign(GOOD, await signerOf("ES256", "other")), /key that its issuer does not publish/],
    [await sign(GOOD, await signerOf("RS256", "main")), /key that its issuer does not publish/],
    [hs256, /signed in a way that is not taken/],
    [`${none}.${payload}.`, /signed in a way that is not taken/],
    [`${none}.${payload}.${signature}`, /signed in a way that is not taken/],
    [`${base64url('{"alg":"NONE"}')}.${payload}.`, /signed in a way that is not taken/],
    [`${base64url('{"kid":"main"}')}.${payload}.${signature}`, /cannot|not a JWT/],
    [`${base64url('{"alg":["ES256"]}')}.${payload}.${signature}`, /not a JWT/],
    [`${header}.${other}.${signature}`, /signature of the token is wrong/],
    [`${header}.${payload}.`, /signature|not a JWT/],
    [`${header}.${payload}.AAAA`, /signature of the token is wrong/],
    [`${header}.${payload}.${signature.slice(0, -4)}`, /signature of the token is wrong/],
    [`${header}.${payload}`, /not a JWT/],
    [`${good}.${signature}`, /not a JWT/],
    [`${good}=`, /not a JWT/],
    [`${good}\n`, /not a JWT/],
    [` ${good}`, /not a JWT/],
    ["", /not a JWT/],
    ["..", /not a JWT/],
    ["eyJ.eyJ.eyJ", /not a JWT/],
    [good.replaceAll(".", "．"), /not a JWT/],
    [`${good}${"A".repeat(9000)}`, /longer than 8192/],
    [`${header}.${base64url("[]")}.${signature}`, /no object/],
    [`${header}.${base64url("null")}.${signature}`, /no object/],
    [`${header}.${base64url("{")}.${signature}`, /not JSON/],
    [`${header}.${Buffer.from([0x7b, 0xff, 0x7d]).toString("base64url")}.x`, /not JSON/],
    [await signText(twice), /says something twice/],
    [await signText(escaped), /says something twice/],
    [await signText(`{"a":${"[".repeat(500)}${"]".repeat(500)}}`), /says something twice|not/],
    [await signText(JSON.stringify(GOOD).replace(`${GOOD.exp}`, "1e999")), /no end \(exp\)/],
    [await signText(JSON.stringify(GOOD), '{"alg":"ES256","kid":"main","alg":"none"}'), /twice/],
    [
      await signText(JSON.stringify(GOOD), '{"alg":"ES256","kid":"main","crit":["x"],"x":1}'),
      /not a JWT that can be verified/,
    ],
    [
      await signText(
        JSON.stringify(GOOD),
        '{"alg":"ES256","kid":"main","crit":["b64"],"b64":false}',
      ),
      /not a JWT that can be verified|signature/,
    ],
    [
      await signText(
        JSON.stringify(GOOD),
        `{"alg":"ES256","jwk":${JSON.stringify(STRANGER.jwk)},"kid":"x"}`,
      ),
      /key that its issuer does not publish/,
    ],
  ];
  for (const [token, reason] of cases) {
    const refusal = await refusalOf(token);
    t.match(refusal, reason, nameOf(token));
    t.notMatch(refusal, signature);
  }
  t.equal(await refusalOf(good), undefined, "and the good one is taken");
});

t.test("of two issuers of one name, each has its keys", async (t) => {
  const other = await signerOf("ES256", "theirs");
  const { tokens, refusalOf } = await openTokens(
    t,
    [{}, { audience: "theirs" }],
    [MAIN.jwk],
    [other.jwk],
  );
  t.match(await tokens.identify(await sign(GOOD)), { name: "alice" });
  t.match(await tokens.identify(await sign({ ...GOOD, aud: "theirs" }, other)), { name: "alice" });
  t.match(await refusalOf(await sign({ ...GOOD, aud: "theirs" })), /another audience than sluice/);
  t.match(await refusalOf(await sign(GOOD, other)), /another audience than theirs/);
});

t.test(
  "a token that was verified is believed for a minute, not longer than it lasts",
  async (t) => {
    const { refusalOf, pass, path } = await openTokens(t);
    const short = await sign({ ...GOOD, exp: START + 10 });
    const long = await sign(GOOD);
    t.equal(await refusalOf(short), undefined);
    t.equal(await refusalOf(long), undefined);
    pass(45_000);
    t.match(await refusalOf(short), /expired/);
    t.equal(await refusalOf(long), undefined);
    const next = await signerOf("ES256", "next");
    await writeFile(`${path}.new`, JSON.stringify({ keys: [next.jwk] }));
    await rename(`${path}.new`, path);
    pass(1000);
    t.match(
      await refusalOf(long),
      /does not publish/,
      "a key that is gone ends what it has signed",
    );
    t.equal(await refusalOf(await sign(GOOD, next)), undefined);
  },
);

t.test("a key set that cannot be used is known at the start, and not quoted", async (t) => {
  const secret = { kty: "oct", k: "c2VjcmV0" };
  const { jwk } = MAIN;
  const cases: readonly [text: string, reason: RegExp][] = [
    ["", /no JWK set/],
    ["{", /no JWK set/],
    ["[]", /no JWK set/],
    ['{"keys":{}}', /no JWK set/],
    ['{"__proto__":{"keys":[]}}', /no JWK set/],
    ['{"keys":[]}', /no public key/],
    ['{"keys":[{"kty":"AKP"}]}', /no public key/],
    ['{"keys":[null]}', /no object/],
    [JSON.stringify({ keys: [secret] }), /secret or private/],
    [JSON.stringify({ keys: [jwk, { ...jwk, d: "c2VjcmV0" }] }), /secret or private/],
    [JSON.stringify({ keys: [{ ...jwk, kid: 7 }] }), /kid of one of its keys is no text/],
    [JSON.stringify({ keys: [{ kty: "RSA", e: "AQAB", n: "A".repeat(3000) }] }), /8192 bits/],
    [JSON.stringify({ keys: Array(65).fill(jwk) }), /more than 64 keys/],
    [" ".repeat(ACCESS_LIMITS.keySetBytesMax + 1), /larger than/],
  ];
  for (const [text, reason] of cases) {
    const path = join(t.testdir({ "jwks.json": text }), "jwks.json");
    const error: unknown = await Tokens.create({
      settings: [tokenSettings(path)],
      now: Date.now,
      onFault: () => undefined,
    }).catch((refusal: unknown) => refusal);
    t.match(error, { name: "ClientsError", message: reason }, nameOf(text));
    t.match(error, { message: `clients.tokens jwksFile ${path}: ` });
    t.notMatch(String(error), "c2VjcmV0");
  }
});
