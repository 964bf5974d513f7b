/** Of one character, or any number of any. */
type Token = "*" | ((character: string) => boolean);

/** One of: a character class with ranges, a wildcard, a character that stands for itself. */
const TOKEN_PATTERN = /\[(\^?)((?:[^-\]^\\[](?:-[^-\]^\\[])?)+)\]|\*+|[^[\\]/gy;

/**
 * A test of one label of a host's name, as Go's path.Match: `*`, `?`, `[a-z]`, `[^a-z]`. Undefined
 * when it is malformed. In time proportional to glob times label, whatever they are.
 *
 * @see https://pkg.go.dev/path#Match
 */
export function compileLabel(glob: string): ((label: string) => boolean) | undefined {
  const parts = [...glob.matchAll(TOKEN_PATTERN)];
  if (parts.reduce((length, [part]) => length + part.length, 0) !== glob.length) {
    return undefined;
  }
  const tokens = parts.map(tokenOf);
  return (label) => fits(tokens, label);
}

function tokenOf([part, negation = "", ranges]: RegExpExecArray): Token {
  if (part.startsWith("*")) {
    return "*";
  }
  if (part === "?") {
    return () => true;
  }
  if (ranges === undefined) {
    return (character) => character === part;
  }
  const list = [...ranges.matchAll(/(.)(?:-(.))?/gs)];
  const isListed = (character: string): boolean =>
    list.some(([, low = "", high = low]) => low <= character && character <= high);
  return negation === "" ? isListed : (character) => !isListed(character);
}

/** What a wildcard stands for grows by one character at a time; only the last one can need more. */
function fits(tokens: readonly Token[], label: string): boolean {
  let token = 0;
  let at = 0;
  let retryToken = -1;
  let retryAt = 0;
  while (at < label.length) {
    const expected = tokens[token];
    if (expected === "*") {
      token += 1;
      retryToken = token;
      retryAt = at;
    } else if (expected?.(label.charAt(at)) === true) {
      token += 1;
      at += 1;
    } else if (retryToken !== -1) {
      token = retryToken;
      retryAt += 1;
      at = retryAt;
    } else {
      return false;
    }
  }
  return tokens.slice(token).every((rest) => rest === "*");
}
