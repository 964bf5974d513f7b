/** In characters. */
const SHOWN_LENGTH_MAX = 300;

/**
 * Text that others wrote, fit for a terminal, a log or a header: printable ASCII in one line, cut to
 * so many characters. Control characters, other alphabets and what changes the direction of writing
 * become question marks.
 */
export function printable(text: string, lengthMax: number): string {
  const clean = text.slice(0, lengthMax + 1).replace(/[^\x20-\x7e]/g, "?");
  return clean.length > lengthMax ? `${clean.slice(0, lengthMax - 3)}...` : clean;
}

/** As much of a stranger's text as a sentence can bear. */
export function shown(text: string): string {
  return printable(text, SHOWN_LENGTH_MAX);
}
