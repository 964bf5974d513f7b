import { POLICY_LIMITS } from "../../limits.ts";

/** One attribute of a name: `type` is a short name (`CN`), or a dotted OID that has none here. */
export interface NameAttribute {
  readonly type: string;
  readonly value: string;
}

/** In the order in which it is written; the parts of a multi-valued RDN are listed one by one. */
export type DistinguishedName = readonly NameAttribute[];

/** Short names by OID: RFC 4514 §3, and what else certificates have (RFC 4519, X.520, PKCS #9). */
export const ATTRIBUTE_TYPES: ReadonlyMap<string, string> = new Map([
  ["2.5.4.6", "C"],
  ["2.5.4.8", "ST"],
  ["2.5.4.7", "L"],
  ["2.5.4.10", "O"],
  ["2.5.4.11", "OU"],
  ["2.5.4.3", "CN"],
  ["2.5.4.9", "STREET"],
  ["2.5.4.17", "POSTALCODE"],
  ["2.5.4.5", "SERIALNUMBER"],
  ["0.9.2342.19200300.100.1.25", "DC"],
  ["0.9.2342.19200300.100.1.1", "UID"],
  ["1.2.840.113549.1.9.1", "E"],
]);

const ALIASES: ReadonlyMap<string, string> = new Map([
  ["S", "ST"], // trust policy specification, "Trusted Identities Constraints"
  ["EMAILADDRESS", "E"], // OpenSSL's word
]);

const KNOWN_TYPES: ReadonlySet<string> = new Set(ATTRIBUTE_TYPES.values());

/** `x509.subject:` is how Notation's own trust policy begins such a name. */
const NOTATION_PREFIX = /^\s*x509\.subject\s*:/i;

/**
 * Says what is wrong with a name that a leaf's subject is to be compared with, or undefined when
 * nothing is. `*` stands for any leaf.
 *
 * Notation itself wants C, ST and O in each. Here the trust store is the rule's own and holds
 * nobody else's certificates, so that any attributes will do, at least one.
 *
 * @see https://github.com/notaryproject/specifications/blob/main/specs/trust-store-trust-policy.md#trusted-identities-constraints
 */
export function checkTrustedSubject(text: string): string | undefined {
  if (text === "*") {
    return undefined;
  }
  if (NOTATION_PREFIX.test(text)) {
    return "begins with x509.subject:, which is left out here";
  }
  try {
    parseDistinguishedName(text);
    return undefined;
  } catch (error) {
    if (error instanceof SyntaxError) {
      return error.message;
    }
    throw error;
  }
}

/**
 * Reads `C=US, ST=WA, O="acme, inc"`: RFC 4514, with the quotes of RFC 2253 and blanks around
 * separators. Each attribute once, no multi-valued RDN (`+`), no BER in hexadecimal (`#`).
 *
 * @throws SyntaxError that says in a sentence without its subject what is wrong.
 */
export function parseDistinguishedName(text: string): DistinguishedName {
  if (text.length > POLICY_LIMITS.nameCharactersMax) {
    throw new SyntaxError(`is longer than ${POLICY_LIMITS.nameCharactersMax} characters`);
  }
  if (!text.isWellFormed()) {
    throw new SyntaxError("is not well-formed Unicode");
  }
  const name = split(piecesOf(text), ",").map(parseAttribute);
  if (name.length > POLICY_LIMITS.nameAttributesMax) {
    throw new SyntaxError(`has more than ${POLICY_LIMITS.nameAttributesMax} attributes`);
  }
  const types = name.map(({ type }) => type);
  const twice = types.find((type, index) => types.indexOf(type) !== index);
  if (twice !== undefined) {
    throw new SyntaxError(`has ${twice} twice`);
  }
  return name;
}

/** The other way round, in the same order: what parseDistinguishedName reads as the same name. */
export function formatDistinguishedName(name: DistinguishedName): string {
  return name.map(({ type, value }) => `${type}=${escapeValue(value)}`).join(", ");
}

function escapeValue(value: string): string {
  return value
    .replace(/["+,;<>\\]|^[ #]| $/g, "\\$&")
    .replace(/\p{C}/gu, (character) =>
      Buffer.from(character).toString("hex").replace(/../g, "\\$&"),
    );
}

/** A character as it stands, or what an escape or a pair of quotes stood for. */
interface Piece {
  readonly text: string;
  readonly kind: "plain" | "escaped" | "quoted";
}

const PIECE_PATTERN = /\\([ "#+,;<=>\\])|((?:\\[0-9A-Fa-f]{2})+)|"((?:[^"\\]|\\.)*)"|./gsu;

function piecesOf(text: string): Piece[] {
  return Array.from(text.matchAll(PIECE_PATTERN), ([plain, special, hex, quoted]): Piece => {
    if (special !== undefined) {
      return { text: special, kind: "escaped" };
    }
    if (hex !== undefined) {
      return { text: decodeHex(hex), kind: "escaped" };
    }
    if (quoted !== undefined) {
      return { text: piecesOf(quoted).map(textInQuotes).join(""), kind: "quoted" };
    }
    return { text: plain, kind: "plain" };
  });
}

/** RFC 4514 §3, hexpair: the bytes of UTF-8. */
function decodeHex(hex: string): string {
  const bytes = Buffer.from(hex.replaceAll("\\", ""), "hex");
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SyntaxError(`has ${hex}, which is not UTF-8`, { cause });
  }
}

function textInQuotes({ text, kind }: Piece): string {
  if (kind === "plain" && text === "\\") {
    throw new SyntaxError("has a \\ that escapes nothing");
  }
  return text;
}

function split(pieces: readonly Piece[], separator: string): Piece[][] {
  const parts: Piece[][] = [[]];
  for (const piece of pieces) {
    if (isPlain(piece, separator)) {
      parts.push([]);
    } else {
      parts.at(-1)?.push(piece);
    }
  }
  return parts;
}

function parseAttribute(pieces: readonly Piece[]): NameAttribute {
  const equals = pieces.findIndex((piece) => isPlain(piece, "="));
  if (equals === -1) {
    const found = joined(trimmed(pieces));
    throw new SyntaxError(
      found === "" ? "has an empty attribute" : `has "${found}" where an attribute=value should be`,
    );
  }
  const written = joined(trimmed(pieces.slice(0, equals))).toUpperCase();
  const type = ALIASES.get(written) ?? written;
  if (!KNOWN_TYPES.has(type)) {
    const known = [...KNOWN_TYPES].join(", ");
    throw new SyntaxError(`has an attribute "${written}", which is none of ${known}`);
  }
  return { type, value: parseValue(trimmed(pieces.slice(equals + 1)), type) };
}

function parseValue(pieces: readonly Piece[], type: string): string {
  const [first] = pieces;
  if (first !== undefined && isPlain(first, "#")) {
    throw new SyntaxError(`has ${type} in hexadecimal, which is not read`);
  }
  const special = pieces.find(({ text, kind }) => kind === "plain" && /["+;<>\\]/.test(text));
  if (special !== undefined) {
    throw new SyntaxError(`has ${special.text} in ${type}: escape it with a \\`);
  }
  if (pieces.length > 1 && pieces.some(({ kind }) => kind === "quoted")) {
    throw new SyntaxError(`has quotes around a part of ${type} only`);
  }
  const value = joined(pieces);
  if (value === "") {
    throw new SyntaxError(`has no value for ${type}`);
  }
  if (/\p{Cc}/u.test(value)) {
    throw new SyntaxError(`has a control character in ${type}`);
  }
  return value;
}

function trimmed(pieces: readonly Piece[]): readonly Piece[] {
  const first = pieces.findIndex((piece) => !isPlain(piece, " "));
  const last = pieces.findLastIndex((piece) => !isPlain(piece, " "));
  return first === -1 ? [] : pieces.slice(first, last + 1);
}

function joined(pieces: readonly Piece[]): string {
  return pieces.map(({ text }) => text).join("");
}

function isPlain({ text, kind }: Piece, character: string): boolean {
  return kind === "plain" && text === character;
}
