import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import t from "tap";
import type { AirGapRig } from "../support/air-gap-rig.ts";
import { airGapRig, archiveOf, entriesOf } from "../support/air-gap-rig.ts";
import { byKey, PLATFORMS } from "../support/policy-rig.ts";
import type { AddedImage } from "../support/signed-images.ts";
import { addSignedImage } from "../support/signed-images.ts";

t.setTimeout(120_000);

const NAME = "team.example/team/app";

async function signed(rig: AirGapRig, tag = "v1"): Promise<AddedImage> {
  const { upstream } = rig;
  return await addSignedImage(upstream, {
    repository: "team/app",
    tag,
    platforms: PLATFORMS,
    signatures: [byKey],
  });
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

t.test("the same images are the same bytes, in whatever order they were asked for", async (t) => {
  const rig = await airGapRig(t);
  await signed(rig, "v1");
  await signed(rig, "v2");
  const [one, two] = [rig.file("one.tar"), rig.file("two.tar")];
  t.match(await rig.at("here", "export", `${NAME}:v1`, `${NAME}:v2`, "-o", one), { code: 0 });
  t.match(await rig.at("here", "export", `${NAME}:v2`, `${NAME}:v1`, "-o", two), { code: 0 });
  t.ok(readFileSync(one).equals(readFileSync(two)));
  const index = JSON.parse(String(entriesOf(one).get("index.json")));
  t.match(index.manifests[0].annotations, {
    "io.containerd.image.name": `${NAME}:v1`,
    "org.opencontainers.image.ref.name": "v1",
  });
});

t.test("with --platform, the index is whole and the rest is not there", async (t) => {
  const rig = await airGapRig(t);
  const { upstream } = rig;
  const image = await signed(rig);
  const [amd, arm] = image.children;
  const file = rig.file("arm.tar");
  const args = [`${NAME}:v1`, "-o", file, "--platform", "linux/arm64"];
  const { code, stdout } = await rig.at("here", "export", ...args);
  t.equal(code, 0);
  t.match(stdout, /without 1 of its platforms/);
  const entries = entriesOf(file);
  const index = entries.get(blobPath(image.digest));
  t.ok(index?.equals(upstream.manifest("team/app", "v1") ?? Buffer.alloc(0)), "byte for byte");
  t.ok(entries.has(blobPath(arm?.digest ?? "")));
  t.notOk(entries.has(blobPath(amd?.digest ?? "")));
  const imported = await rig.at("there", "import", file, "--json");
  t.match(JSON.parse(imported.stdout), { images: [{ absent: [amd?.digest] }], refused: [] });

  const none = await rig.at("here", "export", `${NAME}:v1`, "-o", "x", "--platform", "linux/s390x");
  t.match(none, {
    code: 1,
    stderr: /has nothing for linux\/s390x: it has linux\/amd64, linux\/arm64/,
  });
  const wrong = await rig.at("here", "export", `${NAME}:v1`, "-o", "x", "--platform", "arm64");
  t.match(wrong, { code: 2, stderr: /--platform takes os\/architecture/ });
});

t.test("signatures can be left out, and the standard output can be the file", async (t) => {
  const rig = await airGapRig(t);
  await signed(rig);
  const args = ["export", `${NAME}:v1`, "--no-signatures", "-o"];
  const file = rig.file("plain.tar");
  await rig.at("here", ...args, file);
  const { manifests } = JSON.parse(String(entriesOf(file).get("index.json")));
  t.equal(manifests.length, 1, "what podman load wants");
  const piped = await rig.at("here", ...args, "-");
  t.equal(piped.stdout, readFileSync(file, "utf8"));
  t.match(piped.stderr, /^looking at .*\nexported /);
});

t.test("an export that fails leaves nothing behind, and says what failed", async (t) => {
  const rig = await airGapRig(t);
  const { upstream } = rig;
  const { layers } = upstream.addImage("team/app", "bad", [Buffer.from("a layer")]);
  upstream.replaceBlob(
    "team/app",
    layers[0] ?? upstream.addBlob("", Buffer.alloc(0)),
    Buffer.from("b layer"),
  );
  const file = rig.file("bad.tar");
  const failed = await rig.freelyAt("here", "export", `${NAME}:bad`, "-o", file);
  t.match(failed, { code: 1, stdout: "", stderr: /team\/app: team\.example sent other bytes/ });
  const absent = await rig.freelyAt(
    "here",
    "export",
    `${NAME}:none`,
    "other.example/a",
    "-o",
    file,
  );
  t.match(absent, { code: 1, stderr: /app:none: .*\n.*other\.example\/a: .*not configured/ });
  t.notOk(rig.has("bad.tar") || rig.has("bad.tar.partial"));
  t.match(await rig.freelyAt("here", "export", `${NAME}:none`), { code: 2, stderr: /--output/ });
});

t.test(
  "a folder, and a layout of other tools with bare referrers, are imported, too",
  async (t) => {
    const rig = await airGapRig(t);
    const image = await signed(rig);
    const file = rig.file("v1.tar");
    await rig.at("here", "export", `${NAME}:v1`, "-o", file);
    const entries = entriesOf(file);
    const index = JSON.parse(String(entries.get("index.json")));
    // oras writes a referrer into the index, and no list of them.
    const [artifact] = image.artifacts;
    const bytes = entries.get(blobPath(artifact ?? ""));
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    index.manifests[1] = { mediaType, digest: artifact, size: bytes?.length };
    entries.set("index.json", Buffer.from(JSON.stringify(index)));
    for (const [path, content] of entries) {
      mkdirSync(dirname(join(rig.file("layout"), path)), { recursive: true });
      writeFileSync(join(rig.file("layout"), path), content);
    }
    const imported = await rig.at("there", "import", rig.file("layout"));
    t.match(imported, { code: 0, stdout: /1 signatures and other referrers/ });
  },
);

t.test("a damaged or hostile file is refused, by name, and nothing is stored", async (t) => {
  const rig = await airGapRig(t);
  const image = await signed(rig);
  const good = rig.file("good.tar");
  await rig.at("here", "export", `${NAME}:v1`, "-o", good);
  const entries = entriesOf(good);
  const config = JSON.parse(String(entries.get(blobPath(image.children[0]?.digest ?? "")))).config;
  const edited = (path: string, bytes: Uint8Array): Buffer =>
    archiveOf(new Map([...entries, [path, bytes]]));
  const empty = new Uint8Array();
  const index = (edit: (entry: Record<string, unknown>) => object[]): Buffer => {
    const document = JSON.parse(String(entries.get("index.json")));
    return edited(
      "index.json",
      Buffer.from(JSON.stringify({ ...document, manifests: edit(document.manifests[0]) })),
    );
  };
  const renamed = (entry: Record<string, unknown>, name: string): object => {
    return { ...entry, annotations: { "io.containerd.image.name": name } };
  };
  const pax = (record: string): Buffer => {
    const bytes = archiveOf(new Map([["pax", Buffer.from(record)]]));
    bytes.write("x", 156, "latin1");
    return Buffer.concat([withChecksum(bytes.subarray(0, 1024)), readFileSync(good)]);
  };
  const rows: readonly (readonly [what: string, bytes: Buffer, stderr: RegExp])[] = [
    ["no archive", Buffer.alloc(2048, "x"), /not a tar archive/],
    ["nothing", Buffer.alloc(0), /cut short/],
    ["compressed", gzipSync(readFileSync(good)), /compressed: unpack it first/],
    ["cut", readFileSync(good).subarray(0, 9000), /cut short/],
    [
      "outside",
      archiveOf(entries, { path: "../evil", mode: 0o644, bytes: empty }),
      /leads out of it/,
    ],
    [
      "absolute",
      archiveOf(entries, { path: "/evil", mode: 0o644, bytes: empty }),
      /leads out of it/,
    ],
    ["a link", archiveOf(entries, { path: "l", mode: 0o644, target: "/etc/passwd" }), /is a link/],
    ["twice", archiveOf(entries, { path: "index.json", mode: 0o644, bytes: empty }), /in it twice/],
    ["pax: a size", pax("30 size=99999999999999999999\n"), /malformed|impossible size/],
    ["pax: sparse", pax("22 GNU.sparse.major=1\n"), /sparse/],
    ["pax: garbage", pax("99999999 path=x\n"), /malformed/],
    ["no layout", archiveOf(new Map([["a", empty]])), /no oci-layout/],
    ["a version", edited("oci-layout", Buffer.from("{}")), /does not say version/],
    ["no JSON", edited("index.json", Buffer.from("{")), /index\.json cannot be used/],
    ["large", edited("index.json", Buffer.alloc(4_194_305)), /index\.json is larger/],
    [
      "other bytes",
      edited(blobPath(config.digest), Buffer.alloc(config.size)),
      new RegExp(config.digest),
    ],
    [
      "another manifest",
      edited(blobPath(image.digest), Buffer.from("{}")),
      new RegExp(image.digest),
    ],
    ["another name", index((entry) => [renamed(entry, "other.example/a:b")]), /not configured/],
    ["no name", index((entry) => [{ ...entry, annotations: {} }]), /no full name/],
    [
      "a bad name",
      index((entry) => [renamed(entry, "team.example/A/../b")]),
      /not a repository name/,
    ],
    [
      "another digest",
      index((entry) => [renamed(entry, `${NAME}@sha256:${"0".repeat(64)}`)]),
      /the file has sha256:/,
    ],
  ];
  for (const [what, bytes, stderr] of rows) {
    writeFileSync(rig.file("bad.tar"), bytes);
    const { code, stdout, stderr: said } = await rig.at("there", "import", rig.file("bad.tar"));
    t.same([code, stdout], [1, ""], what);
    t.match(said, stderr, what);
    t.notMatch(said, /\n {4}at /, "no stack");
  }
  t.notOk(rig.has("there"));
  writeFileSync(rig.file("bad.tar"), edited(blobPath(image.digest), Buffer.from("{}")));
  const swapped = await rig.freelyAt("there", "import", rig.file("bad.tar"));
  t.match(swapped, { code: 1, stdout: "", stderr: /has other bytes for sha256:/ }, "no policy");
  t.match(await rig.at("there", "import", rig.file("absent.tar")), { code: 1, stderr: /ENOENT/ });
});

function withChecksum(bytes: Buffer): Buffer {
  const header = Buffer.from(bytes);
  header.write("        ", 148, "latin1");
  const sum = header.subarray(0, 512).reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}
