import type { ByteRange } from "../../storage/blob-store.ts";
import { RegistryError } from "../errors.ts";

const SINGLE_RANGE = /^bytes=(\d{0,15})-(\d{0,15})$/;

/**
 * The part of a body of `sizeBytes` that a Range header asks for; undefined is all of it. Several
 * ranges, other units and bad syntax are ignored, as RFC 9110 §14.2 allows: no multipart answers.
 * An end past the last byte is clamped.
 *
 * @throws RegistryError `range-invalid` when no byte of it exists (§15.5.17).
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  const [, from, to] = SINGLE_RANGE.exec(header?.trim() ?? "") ?? [];
  if (from === undefined || to === undefined || (from === "" && to === "")) {
    return;
  }
  if (from === "") {
    const lengthBytes = Math.min(Number(to), sizeBytes);
    if (lengthBytes === 0) {
      throw unsatisfiable(header, sizeBytes);
    }
    return { first: sizeBytes - lengthBytes, last: sizeBytes - 1 };
  }
  const first = Number(from);
  const last = to === "" ? sizeBytes - 1 : Number(to);
  if (to !== "" && last < first) {
    return;
  }
  if (first >= sizeBytes) {
    throw unsatisfiable(header, sizeBytes);
  }
  return { first, last: Math.min(last, sizeBytes - 1) };
}

export function printContentRange(range: ByteRange, sizeBytes: number): string {
  return `bytes ${range.first}-${range.last}/${sizeBytes}`;
}

/** A range that starts where nothing is. The size goes into Content-Range (RFC 9110 §14.4). */
export class UnsatisfiableRange extends RegistryError {
  readonly sizeBytes: number;

  constructor(message: string, sizeBytes: number) {
    super("range-invalid", message);
    this.sizeBytes = sizeBytes;
  }
}

function unsatisfiable(header: string | undefined, sizeBytes: number): UnsatisfiableRange {
  const asked = (header ?? "").slice(0, 60);
  return new UnsatisfiableRange(`there is nothing at ${asked} of ${sizeBytes} bytes`, sizeBytes);
}
