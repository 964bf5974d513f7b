import { ACCESS_LIMITS } from "../limits.ts";

/** Control and format characters, halves of characters, and separators of lines. */
const ODD_PATTERN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/**
 * What keeps a text from being the name of a client or of a group, as the end of a sentence about
 * it. Names are written to logs and shown to people: none may look like another or like two lines.
 */
export function problemOfName(name: string): string | undefined {
  if (name.trim() === "") {
    return "is empty";
  }
  if (name.length > ACCESS_LIMITS.nameCharactersMax) {
    return `is longer than ${ACCESS_LIMITS.nameCharactersMax} characters`;
  }
  return ODD_PATTERN.test(name) ? "has a control or invisible character" : undefined;
}
