/** What runtimes unpack, by its first bytes: gzip, zstd (and its skippable frames), xz, bzip2, lz4. */
const COMPRESSED: readonly RegExp[] = [
  /^1f8b/,
  /^28b52ffd/,
  /^5[0-9a-f]2a4d18/,
  /^fd377a585a00/,
  /^425a68/,
  /^04224d18/,
];
const MAGIC_BYTES = 6;
/** A tar header (POSIX ustar): one block, in which the checksum stands at 148, in 8 bytes. */
export const TAR_BLOCK_BYTES = 512;
const CHECKSUM = { from: 148, to: 156 } as const;
const SPACE = 0x20;

/**
 * Whether bytes begin as a layer does that a runtime would unpack, whatever its media type says:
 * some look at nothing else. A tar without its magic is told by its checksum.
 */
export function startsLikeLayer(head: Uint8Array): boolean {
  const magic = Buffer.from(head.subarray(0, MAGIC_BYTES)).toString("hex");
  return COMPRESSED.some((pattern) => pattern.test(magic)) || isTarHeader(head);
}

function isTarHeader(head: Uint8Array): boolean {
  if (head.byteLength < TAR_BLOCK_BYTES) {
    return false;
  }
  const block = head.subarray(0, TAR_BLOCK_BYTES);
  const text = Buffer.from(block.subarray(CHECKSUM.from, CHECKSUM.to)).toString("latin1");
  const written = Number.parseInt(text.replace(/[\0 ]+/g, " ").trim(), 8);
  let unsigned = 0;
  let signed = 0;
  for (const [at, byte] of block.entries()) {
    const counted = at >= CHECKSUM.from && at < CHECKSUM.to ? SPACE : byte;
    unsigned += counted;
    signed += counted > 127 ? counted - 256 : counted;
  }
  return written === unsigned || written === signed;
}
