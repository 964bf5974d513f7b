/** A file or an image that cannot be taken across, and why: one sentence, for people. */
export class AirGapError extends Error {
  override readonly name = "AirGapError";
}
