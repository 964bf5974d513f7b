import { gzipSync, zstdCompressSync } from "node:zlib";
import t from "tap";
import { startsLikeLayer } from "../../server/oci/layer-bytes.ts";
import { tarOf } from "../support/tar.ts";

t.test("what a runtime would unpack is told by its bytes", (t) => {
  const tar = tarOf([{ path: "bin/sh", mode: 0o755, bytes: Buffer.from("#!") }]);
  t.ok(startsLikeLayer(tar), "a tar");
  const withoutMagic = Buffer.from(tar);
  withoutMagic.fill(0, 257, 265);
  t.notOk(startsLikeLayer(withoutMagic), "its checksum is no longer right");
  t.ok(startsLikeLayer(withChecksum(withoutMagic)), "an old tar, without its magic");
  t.ok(startsLikeLayer(gzipSync(tar)), "gzip");
  t.ok(startsLikeLayer(zstdCompressSync(tar)), "zstd");
  for (const text of [
    '{"payload":"e30="}',
    "",
    "SPDXVersion: SPDX-2.3",
    "\xd2\x84",
    "x".repeat(600),
  ]) {
    t.notOk(startsLikeLayer(Buffer.from(text, "latin1")), JSON.stringify(text.slice(0, 20)));
  }
  t.end();
});

function withChecksum(tar: Buffer): Buffer {
  const copy = Buffer.from(tar);
  copy.fill(0x20, 148, 156);
  const sum = copy.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  copy.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return copy;
}
