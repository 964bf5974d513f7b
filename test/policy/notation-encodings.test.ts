import { decode, encode, Tagged } from "cborg";
import t from "tap";
import { DAY_MS } from "../support/notation-certificates.ts";
import { mintNotationSigner, NOTATION_SUBJECT } from "../support/notation-fixture.ts";
import { look, NOW, SIGNING_TIME, set, TARGET } from "../support/notation-look.ts";
import { runSeed, seeded } from "../support/seeded.ts";

t.test("JSON that two readers could read in two ways does not count", async (t) => {
  const signer = mintNotationSigner();
  const honest = signer.sign({ format: "jws", target: TARGET });
  const text = honest.envelope.toString();
  const edits: [what: string, envelope: string | Buffer, problem: RegExp][] = [
    [
      "a member twice",
      text.replace("{", '{"payload":"e30",'),
      /envelope cannot be relied on: it has '.*' twice/,
    ],
    [
      "a member twice, escaped",
      text.replace("{", '{"p\\u0061yload":"e30",'),
      /envelope cannot be relied on: it has '.*' twice/,
    ],
    ["a member more", text.replace("{", '{"signatures":[],'), /not a flattened JWS/],
    ["__proto__ more", text.replace("{", '{"__proto__":{},'), /not a flattened JWS/],
    ["a member less", text.replace(/,"signature":"[^"]*"/, ""), /not a flattened JWS/],
    [
      "certificates twice",
      text.replace('"x5c":', '"x5c":[],"x5c":'),
      /envelope cannot be relied on: it has '.*' twice/,
    ],
    [
      "no header",
      text.replace(/"header":\{.*\},"sig/, '"header":[],"sig'),
      /header that is no object/,
    ],
    [
      "padding",
      text.replace(/"signature":"([^"]*)"/, '"signature":"$1="'),
      /signature that is not base64url/,
    ],
    [
      "base64 instead of base64url",
      text.replace(/"signature":"./, '"signature":"+'),
      /signature that is not base64url/,
    ],
    ["a blank", text.replace('"signature":"', '"signature":" '), /signature that is not base64url/],
    [
      "a certificate in base64url",
      text.replace(/"x5c":\["..../, '"x5c":["__-_'),
      /certificate that is not base64/,
    ],
    [
      "a certificate that is no text",
      text.replace('"x5c":[', '"x5c":[1,'),
      /certificate that is not base64/,
    ],
    [
      "certificates that are no list",
      text.replace(/"x5c":\[[^\]]*\]/, '"x5c":"MAA="'),
      /has no certificates/,
    ],
    ["a compact JWS", `${text.length}.e30.AA`, /its envelope is not JSON/],
    ["a byte order mark", `\ufeff${text}`, /its envelope is not JSON/],
    [
      "bytes that are no UTF-8",
      Buffer.concat([honest.envelope, Buffer.from([0xff])]),
      /is not JSON/,
    ],
    ["something behind it", `${text}{}`, /its envelope is not JSON/],
    ["a list", `[${text}]`, /not a JSON object/],
    ["nothing", "", /its envelope is not JSON/],
    ["a deep nest", `${'{"a":'.repeat(1000)}1${"}".repeat(1000)}`, /nested deeper/],
    ["a long list", text.replace("{", `{"a":[${"{},".repeat(5000)}0],`), /more than 4096 members/],
    ["a large one", text + " ".repeat(1_048_576), /larger than 1048576/],
  ];
  for (const [what, envelope, problem] of edits) {
    t.match(look({ ...honest, envelope: Buffer.from(envelope) }), problem, what);
  }
  const signed: [what: string, json: string, problem: RegExp][] = [
    [
      "a protected header twice",
      '{"alg":"none",',
      /protected header cannot be relied on: it has '.*' twice/,
    ],
    [
      "a critical list twice",
      '{"crit":["x"],',
      /protected header cannot be relied on: it has '.*' twice/,
    ],
  ];
  for (const [what, start, problem] of signed) {
    const minted = signer.sign({
      format: "jws",
      target: TARGET,
      tamper: (parts) => ({
        ...parts,
        headers: Buffer.from(parts.headers.toString().replace("{", start)),
      }),
    });
    t.match(look(minted), problem, what);
  }
  const twoTargets = signer.sign({
    format: "jws",
    target: TARGET,
    tamper: (parts) => ({
      ...parts,
      payload: Buffer.from(parts.payload.toString().replace("{", '{"targetArtifact":{},')),
    }),
  });
  t.match(look(twoTargets), /payload cannot be relied on: it has '.*' twice/);
  for (const time of [
    "2026-02-30T00:00:00Z",
    "2026-01-01T00:00:00",
    "2026-01-01",
    "1e9",
    1_767_225_600,
  ]) {
    const minted = signer.sign({ format: "jws", target: TARGET, ...set({ [SIGNING_TIME]: time }) });
    t.match(look(minted), /signingTime that is no time/, String(time));
  }
  const offset = new Date(NOW + 7_140_000).toISOString().replace(/\.\d+Z/, ".5+02:00");
  const elsewhere = signer.sign({
    format: "jws",
    target: TARGET,
    ...set({ [SIGNING_TIME]: offset }),
  });
  t.equal(look(elsewhere), NOTATION_SUBJECT, "a time with a fraction and an offset");
});

t.test("CBOR that two readers could read in two ways does not count", async (t) => {
  const signer = mintNotationSigner();
  const honest = signer.sign({ format: "cose", target: TARGET });
  const { value } = decode(honest.envelope, {
    useMaps: true,
    tags: { 18: Tagged.decoder(18) },
  }) as Tagged;
  const [headers, unsigned, payload, signature] = value as [
    Uint8Array,
    Map<unknown, unknown>,
    Uint8Array,
    Uint8Array,
  ];
  const sealed = (...parts: unknown[]): Buffer => Buffer.from(encode(new Tagged(18, parts)));
  const twice = Buffer.concat([
    Buffer.from([0xa0 + (headers[0] ?? 0) - 0xa0 + 1, 0x01, 0x26]),
    headers.subarray(1),
  ]);
  const chain = unsigned.get(33);
  const edits: [what: string, envelope: Uint8Array, problem: RegExp][] = [
    ["no tag", encode(value), /not a tagged COSE_Sign1/],
    ["another tag", encode(new Tagged(98, value)), /not a tagged COSE_Sign1/],
    [
      "the tag in two bytes",
      Buffer.concat([Buffer.from([0xd8, 18]), honest.envelope.subarray(1)]),
      /not a tagged/,
    ],
    ["three parts", sealed(headers, unsigned, payload), /not a tagged COSE_Sign1/],
    ["five parts", sealed(headers, unsigned, payload, signature, 1), /not a tagged COSE_Sign1/],
    ["a detached payload", sealed(headers, unsigned, null, signature), /without headers, payload/],
    [
      "no protected headers",
      sealed(new Uint8Array(0), unsigned, payload, signature),
      /without headers/,
    ],
    ["a label twice", sealed(twice, unsigned, payload, signature), /repeat map key/],
    [
      "protected headers in a list",
      sealed(encode([1]), unsigned, payload, signature),
      /headers that are no map/,
    ],
    [
      "unsigned headers in a list",
      sealed(headers, [1], payload, signature),
      /headers that are no map/,
    ],
    [
      "a label that is a list",
      sealed(headers, new Map([[[1], 2]]), payload, signature),
      /label is no text and no number/,
    ],
    [
      "alg unsigned, too",
      sealed(
        headers,
        new Map([
          [1, -7],
          [33, chain],
        ]),
        payload,
        signature,
      ),
      /header 1 signed and unsigned/,
    ],
    [
      "a certificate outside of a list",
      sealed(headers, new Map([[33, signer.chain[0]]]), payload, signature),
      /has no certificates/,
    ],
    [
      "an empty certificate",
      sealed(headers, new Map([[33, [new Uint8Array(0)]]]), payload, signature),
      /has no certificates/,
    ],
    [
      "a time without its tag",
      sealed(encode(timeless(headers)), unsigned, payload, signature),
      /signingTime that is no time/,
    ],
    [
      "bytes behind it",
      Buffer.concat([honest.envelope, Buffer.from([0])]),
      /not the CBOR that it should be/,
    ],
    ["half of it", honest.envelope.subarray(0, 100), /not the CBOR that it should be/],
    ["an endless list", Buffer.from("d29fff", "hex"), /not the CBOR that it should be/],
    [
      "a list of billions",
      Buffer.from("d29affffffff0101", "hex"),
      /not the CBOR that it should be/,
    ],
    [
      "a deep nest",
      Buffer.concat([Buffer.from([0xd2]), Buffer.alloc(1_000_000, 0x81)]),
      /too many items/,
    ],
    [
      "a million numbers",
      Buffer.concat([Buffer.from("d29a000f4240", "hex"), Buffer.alloc(1_000_000, 1)]),
      /too many items/,
    ],
    [
      "another tag inside",
      sealed(headers, new Map([["x", new Tagged(2, payload)]]), payload, signature),
      /not the CBOR/,
    ],
    ["nothing", Buffer.alloc(0), /not a tagged COSE_Sign1/],
  ];
  for (const [what, envelope, problem] of edits) {
    t.match(look({ ...honest, envelope: Buffer.from(envelope) }), problem, what);
  }
});

/** The same headers, with numbers where times should be. */
function timeless(headers: Uint8Array): Map<unknown, unknown> {
  return decode(headers, { useMaps: true, tags: { 1: (content) => content() } }) as Map<
    unknown,
    unknown
  >;
}

t.test("a changed envelope never counts for another signer, nor breaks the verifier", async (t) => {
  const seed = runSeed();
  t.comment(`SLUICE_FUZZ_SEED=${seed}`);
  const random = seeded(seed);
  const signer = mintNotationSigner();
  for (const format of ["jws", "cose"] as const) {
    const honest = signer.sign({ format, target: TARGET, expiry: new Date(NOW + DAY_MS) });
    const harmless = new Set<string>();
    for (let round = 0; round < 1500; round++) {
      const envelope = Buffer.from(honest.envelope);
      const at = Math.floor(random() * envelope.byteLength);
      envelope[at] = Math.floor(random() * 256);
      const cut = random() < 0.1 ? envelope.subarray(0, at) : envelope;
      const found = look({ ...honest, envelope: cut }); // throws what is no SignatureProblem
      if (found === NOTATION_SUBJECT && !cut.equals(honest.envelope)) {
        harmless.add(cut.subarray(Math.max(0, at - 40), at + 40).toString("latin1"));
      }
    }
    for (const place of harmless) {
      t.match(
        place,
        /signingAgent|test\/1\.0\.0/,
        `${format}: only the agent is nobody's business`,
      );
    }
  }
});
