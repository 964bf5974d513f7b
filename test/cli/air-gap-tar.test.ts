import { open } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { encodeTarHeader, TAR_BLOCK_BYTES } from "../../server/air-gap/tar-format.ts";
import { readTar } from "../../server/air-gap/tar-reader.ts";
import { TarWriter } from "../../server/air-gap/tar-writer.ts";
import { run } from "../support/processes.ts";
import { toolOptions } from "../support/tools.ts";

const GIB = 1_073_741_824;
const LONG = `blobs/sha512/${"ab".repeat(64)}`;

/** Holes take no room: a layer of 9 GiB is a header, and an end. */
async function largeArchive(path: string): Promise<number> {
  await using file = await open(path, "w+");
  const large = encodeTarHeader({ path: "blobs/sha256/large", sizeBytes: 9 * GIB, type: "0" });
  await file.write(large, 0, large.byteLength, 0);
  const small = encodeTarHeader({ path: LONG, sizeBytes: 3, type: "0" });
  const at = large.byteLength + 9 * GIB;
  await file.write(small, 0, small.byteLength, at);
  await file.write(Buffer.from("abc"), 0, 3, at + small.byteLength);
  await file.truncate(at + small.byteLength + 3 * TAR_BLOCK_BYTES);
  return large.byteLength;
}

t.test("more than 8 GiB, and names that ustar has no room for", async (t) => {
  const path = join(t.testdir(), "large.tar");
  const offset = await largeArchive(path);
  await using file = await open(path);
  const members = await readTar(file);
  t.same(members.get("blobs/sha256/large"), { offset, sizeBytes: 9 * GIB });
  t.equal(members.get(LONG)?.sizeBytes, 3);
});

t.test("tar reads the same", toolOptions("tar"), async (t) => {
  const path = join(t.testdir(), "large.tar");
  await largeArchive(path);
  const { code, stdout } = await run("tar", ["--list", "--verbose", "--file", path]);
  t.equal(code, 0);
  t.match(stdout, new RegExp(` ${9 * GIB} 1970-01-01 .* blobs/sha256/large\n.* 3 .* ${LONG}\n$`));
});

t.test("content of another length than was said is refused", async (t) => {
  const tar = new TarWriter(async () => undefined);
  await t.rejects(tar.file("blobs/a", 4, [Buffer.from("abc")]), /blobs\/a has 3 bytes, not 4/);
  await t.rejects(tar.file("blobs/a", 2, [Buffer.from("abc")]), /has more than 2 bytes, not 2/);
});
