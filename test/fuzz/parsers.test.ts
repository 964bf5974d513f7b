import t from "tap";
import { RegistryError } from "../../server/errors.ts";
import { parseRange, UnsatisfiableRange } from "../../server/http/range.ts";
import { parseTarget } from "../../server/http/target.ts";
import { parseManifest } from "../../server/oci/manifest.ts";
import { isRepository } from "../../server/oci/reference.ts";
import { digestOf } from "../../storage/digest.ts";
import { StorageError } from "../../storage/errors.ts";
import { pick, runSeed, seeded } from "../support/seeded.ts";

const ROUNDS = 20_000;
const HEX = "0123456789abcdef".repeat(4);
const PIECES = [
  "/v2/",
  "/",
  "//",
  "..",
  ".",
  "library",
  "alpine",
  "docker.io",
  "a_b",
  "a__b",
  "a-b",
  "A",
  "%2f",
  "%3A",
  "%00",
  "manifests",
  "blobs",
  "tags/list",
  "referrers",
  "v1",
  `sha256:${HEX}`,
  "sha256:",
  "sha512:",
  "?ns=",
  "?n=5",
  "&last=",
  "?",
  "&",
  "=",
  ":",
  ";",
  "\\",
  "#",
  " ",
  "\u2028",
  "é",
  "__proto__",
  "_catalog",
  "x".repeat(300),
]; // prettier-ignore

t.test("any target is parsed into the grammar, or refused with a code", (t) => {
  const seed = runSeed();
  t.comment(`seed ${seed}`);
  const random = seeded(seed);
  const refused = new Set<string>();
  let parsed = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const length = 1 + Math.floor(random() * 8);
    const url = `${random() < 0.8 ? "/v2/" : ""}${Array.from({ length }, () => pick(random, PIECES)).join(random() < 0.5 ? "/" : "")}`;
    try {
      const target = parseTarget(url);
      parsed += 1;
      if (target.kind !== "ping" && /[%\\;#\s]|\/\//.test(target.name)) {
        t.fail(`${JSON.stringify(url)} became ${target.name}`);
      }
    } catch (error) {
      if (!(error instanceof RegistryError || error instanceof StorageError)) {
        t.fail(`${JSON.stringify(url)} threw ${String(error)}`);
      } else {
        refused.add(error.code);
      }
    }
  }
  t.ok(parsed > 0);
  const codes = [
    "digest-invalid",
    "manifest-unknown",
    "name-invalid",
    "pagination-invalid",
    "path-unknown",
    "request-invalid",
  ];
  t.same(
    [...refused].filter((code) => !codes.includes(code)),
    [],
  );
  t.end();
});

t.test("what is parsed comes back from its own spelling", (t) => {
  const random = seeded(7);
  const parts = ["a", "b0", "c.d", "e_f", "g__h", "i-j", "k--l"];
  for (let round = 0; round < 2000; round += 1) {
    const name = Array.from({ length: 1 + Math.floor(random() * 4) }, () => pick(random, parts));
    const repository = name.join("/");
    const target = parseTarget(`/v2/${repository}/manifests/sha256%3A${HEX}?ns=team.example%3A1`);
    if (target.kind !== "manifest" || target.name !== repository || !isRepository(repository)) {
      t.fail(repository);
    }
  }
  t.pass();
  t.end();
});

t.test("a range is inside the body, ignored, or unsatisfiable", (t) => {
  const seed = runSeed();
  t.comment(`seed ${seed}`);
  const random = seeded(seed);
  const pieces = [
    "bytes",
    "=",
    "-",
    ",",
    "0",
    "1",
    "99",
    "100",
    "101",
    "18446744073709551616",
    " ",
    "items",
    "x",
  ];
  for (let round = 0; round < ROUNDS; round += 1) {
    const header =
      (random() < 0.7 ? "bytes=" : "") +
      Array.from({ length: Math.floor(random() * 5) }, () => pick(random, pieces)).join("");
    const sizeBytes = pick(random, [0, 1, 100]);
    try {
      const range = parseRange(header, sizeBytes);
      const isInside =
        range === undefined ||
        (range.first >= 0 && range.first <= range.last && range.last < sizeBytes);
      if (!isInside) {
        t.fail(`${header} of ${sizeBytes} became ${JSON.stringify(range)}`);
      }
    } catch (error) {
      if (!(error instanceof UnsatisfiableRange)) {
        t.fail(`${header} threw ${String(error)}`);
      }
    }
  }
  t.pass();
  t.end();
});

/** What is wrong with the way a manifest is parsed; undefined when nothing is. */
function complaintAbout(text: string): string | undefined {
  try {
    const { children, blobs } = parseManifest(Buffer.from(text), "app/web:v1");
    const isOdd = [...children, ...blobs].some(
      ({ sizeBytes = 0 }) => !Number.isSafeInteger(sizeBytes) || sizeBytes < 0,
    );
    return isOdd ? text : undefined;
  } catch (error) {
    const isRefused = error instanceof RegistryError && error.code === "upstream-invalid";
    return isRefused ? undefined : `${text} threw ${String(error)}`;
  }
}

t.test("any manifest is understood, or refused as the upstream's fault", (t) => {
  const seed = runSeed();
  t.comment(`seed ${seed}`);
  const random = seeded(seed);
  const digest = digestOf(Buffer.from("x"));
  const values: unknown[] = [
    null,
    1,
    -1,
    2 ** 53,
    "5",
    [],
    {},
    digest,
    "sha256:x",
    "blake3:00",
    true,
    { digest, size: 5 },
    { digest, size: -1 },
    { digest },
    [{ digest, size: 5, mediaType: "a/b" }],
    [{ digest: "blake3:00", size: 5 }],
    [null],
    [[]],
    JSON.parse('{"__proto__":{"digest":"x"}}'),
  ]; // prettier-ignore
  const keys = [
    "layers",
    "config",
    "manifests",
    "fsLayers",
    "blobs",
    "subject",
    "__proto__",
    "Layers",
  ];
  for (let round = 0; round < ROUNDS; round += 1) {
    const document = Object.fromEntries(
      Array.from({ length: Math.floor(random() * 5) }, () => [
        pick(random, keys),
        pick(random, values),
      ]),
    );
    let text = JSON.stringify(document);
    if (random() < 0.1) {
      text = text.slice(0, Math.floor(random() * text.length));
    }
    const complaint = complaintAbout(text);
    if (complaint !== undefined) {
      t.fail(complaint);
    }
  }
  t.equal(Reflect.get({}, "digest"), undefined, "nobody touched Object.prototype");
  t.end();
});

t.test("names of hostile length are refused at once", (t) => {
  for (const text of [
    "a-".repeat(32_768),
    "a".repeat(65_536),
    "a/".repeat(32_768),
    "_".repeat(65_536),
  ]) {
    t.equal(isRepository(text), false);
    t.throws(() => parseTarget(`/v2/${text}/manifests/v1/x`));
  }
  t.end();
});
