import { AirGapError } from "./air-gap-error.ts";

/** POSIX.1-2017 pax, "ustar Interchange Format". */
export const TAR_BLOCK_BYTES = 512;

const NAME_BYTES_MAX = 100;
/** Eleven octal digits: one byte less than 8 GiB. */
const USTAR_SIZE_MAX = 0o777_7777_7777;
const CHECKSUM_OFFSET = 148;
const CHECKSUM_BYTES = 8;
const BLANK = 0x20;
const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;
/** The high bit says that a size is binary, as GNU tar writes large ones. */
const BINARY_FLAG = 0x80;

export interface TarHeader {
  readonly path: string;
  readonly sizeBytes: number;
  /** One character: `0` or NUL is a file, `5` a folder, `x` what pax says of the next entry. */
  readonly type: string;
}

/**
 * The header of an entry, with a pax header in front where ustar has no room for its name or size.
 * Owner and time are nobody and never, so that the same content is the same bytes.
 */
export function encodeTarHeader(header: TarHeader): Buffer {
  const records = [
    ...(header.path.length > NAME_BYTES_MAX ? [paxRecord("path", header.path)] : []),
    ...(header.sizeBytes > USTAR_SIZE_MAX ? [paxRecord("size", String(header.sizeBytes))] : []),
  ];
  if (records.length === 0) {
    return block(header);
  }
  const body = Buffer.from(records.join(""), "latin1");
  const name = `PaxHeaders/${header.path}`.slice(0, NAME_BYTES_MAX);
  return Buffer.concat([
    block({ path: name, sizeBytes: body.byteLength, type: "x" }),
    body,
    Buffer.alloc(tarPadding(body.byteLength)),
    block({
      ...header,
      path: header.path.slice(0, NAME_BYTES_MAX),
      sizeBytes: header.sizeBytes > USTAR_SIZE_MAX ? 0 : header.sizeBytes,
    }),
  ]);
}

/**
 * Undefined for a block of zeros, which ends an archive.
 *
 * @throws AirGapError when its checksum is wrong, or its size is no number.
 */
export function decodeTarHeader(bytes: Buffer): TarHeader | undefined {
  if (bytes.every((byte) => byte === 0)) {
    return;
  }
  if (octal(bytes.subarray(CHECKSUM_OFFSET, CHECKSUM_OFFSET + CHECKSUM_BYTES)) !== sumOf(bytes)) {
    throw new AirGapError("it is not a tar archive, or a damaged one: a checksum is wrong");
  }
  const isUstar = text(bytes.subarray(257, 263)) === "ustar";
  const prefix = isUstar ? text(bytes.subarray(345, 500)) : "";
  const name = text(bytes.subarray(0, NAME_BYTES_MAX));
  return {
    path: prefix === "" ? name : `${prefix}/${name}`,
    sizeBytes: sizeOf(bytes.subarray(124, 136)),
    type: String.fromCharCode(bytes[156] ?? 0),
  };
}

/** What fills the last block of an entry, in bytes. */
export function tarPadding(sizeBytes: number): number {
  return (TAR_BLOCK_BYTES - (sizeBytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}

/**
 * Records of `length key=value`, the last of a key first in force (pax, "Extended Header").
 *
 * @throws AirGapError when a record is not one.
 */
export function parsePax(bytes: Buffer): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  let at = 0;
  while (at < bytes.byteLength) {
    const blank = bytes.indexOf(BLANK, at);
    const digits = blank < 0 ? "" : bytes.toString("latin1", at, blank);
    const end = at + Number(digits);
    if (!/^[1-9][0-9]{0,6}$/.test(digits) || end > bytes.byteLength || end <= blank + 1) {
      throw new AirGapError("a pax header of it is malformed");
    }
    const record = bytes.toString("utf8", blank + 1, end);
    const equals = record.indexOf("=");
    if (equals < 1 || !record.endsWith("\n")) {
      throw new AirGapError("a pax header of it is malformed");
    }
    records.set(record.slice(0, equals), record.slice(equals + 1, -1));
    at = end;
  }
  return records;
}

function block({ path, sizeBytes, type }: TarHeader): Buffer {
  const bytes = Buffer.alloc(TAR_BLOCK_BYTES);
  const mode = type === "5" ? FOLDER_MODE : FILE_MODE;
  bytes.write(path, 0, "latin1");
  bytes.write(`${mode.toString(8).padStart(7, "0")}\0`, 100, "latin1");
  bytes.write("0000000\0", 108, "latin1");
  bytes.write("0000000\0", 116, "latin1");
  bytes.write(`${sizeBytes.toString(8).padStart(11, "0")}\0`, 124, "latin1");
  bytes.write("00000000000\0", 136, "latin1");
  bytes.write(type, 156, "latin1");
  bytes.write("ustar\x0000", 257, "latin1");
  const sum = sumOf(bytes).toString(8).padStart(6, "0");
  bytes.write(`${sum}\0 `, CHECKSUM_OFFSET, "latin1");
  return bytes;
}

/** `length key=value\n`, where the length counts its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (length !== rest.length + String(length).length) {
    length = rest.length + String(length).length;
  }
  return `${length}${rest}`;
}

/** Of all bytes of the header, those of the checksum taken as blanks. */
function sumOf(bytes: Buffer): number {
  let sum = BLANK * CHECKSUM_BYTES;
  for (const [at, byte] of bytes.entries()) {
    sum += at >= CHECKSUM_OFFSET && at < CHECKSUM_OFFSET + CHECKSUM_BYTES ? 0 : byte;
  }
  return sum;
}

function sizeOf(field: Buffer): number {
  if (((field[0] ?? 0) & BINARY_FLAG) === 0) {
    return octal(field);
  }
  let size = 0;
  for (const [at, byte] of field.entries()) {
    size = size * 256 + (at === 0 ? byte & ~BINARY_FLAG : byte);
  }
  if (!Number.isSafeInteger(size)) {
    throw new AirGapError("an entry of it has an impossible size");
  }
  return size;
}

function octal(field: Buffer): number {
  const digits = text(field).trim();
  if (!/^[0-7]{1,12}$/.test(digits)) {
    throw new AirGapError("it is not a tar archive, or a damaged one: a number is malformed");
  }
  return Number.parseInt(digits, 8);
}

function text(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? field.byteLength : end);
}
