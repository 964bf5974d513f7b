type State = "value" | "value or ]" | "name" | "name or }" | ":" | ", or end";

type Kind = "{" | "}" | "[" | "]" | ":" | "," | "text" | "scalar";

interface Token {
  readonly kind: Kind;
  readonly end: number;
}

const EXPECTED: Readonly<Record<State, string>> = {
  value: "a value",
  "value or ]": 'a value or "]"',
  name: "a name in double quotes",
  "name or }": 'a name in double quotes or "}"',
  ":": '":"',
  ", or end": '"," or the end of what was begun',
};

const BAD_TEXT =
  "the text that begins here has no closing quote, or what JSON does not allow in one";

const VALUE: Readonly<Partial<Record<Kind, State>>> = {
  "{": "name or }",
  "[": "value or ]",
  text: ", or end",
  scalar: ", or end",
};

const NEXT: Readonly<Record<State, Readonly<Partial<Record<Kind, State>>>>> = {
  value: VALUE,
  "value or ]": { ...VALUE, "]": ", or end" },
  name: { text: ":" },
  "name or }": { text: ":", "}": ", or end" },
  ":": { ":": "value" },
  ", or end": { ",": "value", "}": ", or end", "]": ", or end" },
};

const SPACE_PATTERN = /[ \t\r\n]*/y;
const SCALAR_PATTERN = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null/y;
const ESCAPE_PATTERN = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/** Undefined for what is no JSON, whose reason would quote it: see describeJsonFault. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Where a text that is no JSON stops being it (RFC 8259), for people: `line 3, column 5: expected a
 * value`. The messages of JSON.parse quote the text, which may be a secret; this never does.
 */
export function describeJsonFault(text: string): string {
  const closers: Kind[] = [];
  let state: State = "value";
  let at = 0;
  for (;;) {
    at = endOf(SPACE_PATTERN, text, at) ?? at;
    const token = tokenAt(text, at);
    const next: State | undefined = token && step(state, token.kind, closers);
    if (token === undefined || next === undefined) {
      const isText = token === undefined && text[at] === '"';
      return `${placeOf(text, at)}: ${isText ? BAD_TEXT : `expected ${EXPECTED[state]}`}`;
    }
    state = next;
    at = token.end;
  }
}

function step(state: State, kind: Kind, closers: Kind[]): State | undefined {
  const next = NEXT[state][kind];
  if (next === undefined) {
    return undefined;
  }
  const closer = closers.at(-1);
  switch (kind) {
    case "{":
    case "[":
      closers.push(kind === "{" ? "}" : "]");
      return next;
    case "}":
    case "]":
      return closers.pop() === kind ? next : undefined;
    case ",":
      return closer === "}" ? "name" : closer && next;
    default:
      return next;
  }
}

function tokenAt(text: string, at: number): Token | undefined {
  const character = text.charAt(at);
  switch (character) {
    case "{":
    case "}":
    case "[":
    case "]":
    case ":":
    case ",":
      return { kind: character, end: at + 1 };
    case '"': {
      const end = endOfText(text, at + 1);
      return end === undefined ? undefined : { kind: "text", end };
    }
    default: {
      const end = endOf(SCALAR_PATTERN, text, at);
      return end === undefined ? undefined : { kind: "scalar", end };
    }
  }
}

/** Behind the closing quote. */
function endOfText(text: string, start: number): number | undefined {
  let at = start;
  while (at < text.length && text.charCodeAt(at) >= 0x20) {
    if (text[at] === '"') {
      return at + 1;
    }
    const end = text[at] === "\\" ? endOf(ESCAPE_PATTERN, text, at) : at + 1;
    if (end === undefined) {
      return undefined;
    }
    at = end;
  }
  return undefined;
}

function endOf(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}

function placeOf(text: string, at: number): string {
  const lines = text.slice(0, at).split("\n");
  const place = `line ${lines.length}, column ${(lines.at(-1) ?? "").length + 1}`;
  return at === text.length ? `it ends at ${place}` : place;
}
