/** What is looked at of a message: longer ones quote whole requests. */
const READ_MAX = 2000;
const NESTED_MAX = 4;
/** What Azure's messages have beside the reason: documentation, and all headers of an answer. */
const NOISE =
  /\s(?:To troubleshoot, visit \S+|See the troubleshooting guide[\w ]{0,40}: \S+|In DefaultAzureCredential and [^"]{0,100}"[A-Z_]{1,40}"\.|Headers: [\s\S]*)/g;
/** What is quoted of all of them. */
const SHOWN_MAX = 500;

const SECRET_FIELD =
  /(token|secret|password|assertion|authorization|signature)(?:"?\s*=|"\s*:|:(?=\S))\s*"?[^\s"&,;]+/gi;
/** A JSON Web Token, or the beginning of one. */
const JWT = /\beyJ[\w.-]{5,}/g;
const SECRET_HEADER = /\b(bearer|basic)\s+[^\s"',;]{8,}/gi;
const ARN_GUID_OR_RUN =
  /arn:aws[\w-]{0,16}:[\w:/*@.+=,-]{1,256}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Za-z0-9+/=_~%-]{20,}/gi;
const GUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * What a cloud's library says of its failure, for people: one line of printable ASCII, bounded. Its
 * errors hold requests and answers, and messages quote them: what looks like a secret is left out.
 */
export function describeProblem(error: unknown): string {
  const text = [...partsOf(error)].join("; ");
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX - 3)}...` : text;
}

function* partsOf(error: unknown): Generator<string> {
  if (!(error instanceof Error)) {
    yield "an error without a message";
    return;
  }
  const nested: unknown = Reflect.get(error, "errors");
  if (Array.isArray(nested) && nested.length > 0) {
    yield* nested.slice(0, NESTED_MAX).map(describeOne);
    return;
  }
  const kind = /^(?!(?:Syntax|Type)?Error$)[A-Za-z]{1,64}$/.test(error.name) ? error.name : "";
  yield kind === "" ? describeOne(error) : `${kind}: ${describeOne(error)}`;
}

function describeOne(error: unknown): string {
  if (error instanceof SyntaxError || error instanceof TypeError) {
    return "it cannot understand what it read or was answered"; // which the message quotes
  }
  if (!(error instanceof Error)) {
    return "an error without a message";
  }
  const message = error.message.slice(0, READ_MAX).replaceAll(NOISE, "");
  const status = statusOf(error);
  return `${withoutSecrets(message)}${status === undefined ? "" : ` (${status})`}`;
}

/** As AWS, Azure and Google have it: an HTTP status, else a code such as ECONNREFUSED. */
function statusOf(error: Error): string | undefined {
  const metadata: unknown = Reflect.get(error, "$metadata");
  const candidates: readonly unknown[] = [
    typeof metadata === "object" && metadata !== null && Reflect.get(metadata, "httpStatusCode"),
    Reflect.get(error, "statusCode"),
    Reflect.get(error, "status"),
    Reflect.get(error, "code"),
  ];
  for (const candidate of candidates) {
    const text = typeof candidate === "number" ? `status ${candidate}` : candidate;
    if (typeof text === "string" && /^[A-Za-z0-9_ ]{1,40}$/.test(text)) {
      return text;
    }
  }
  return undefined;
}

/** One line without what looks like a secret; account names, roles and identifiers stay. */
export function withoutSecrets(text: string): string {
  return text
    .slice(0, READ_MAX)
    .replaceAll(/[^\x21-\x7e]+/g, " ")
    .replaceAll(SECRET_FIELD, "$1=[...]")
    .replaceAll(SECRET_HEADER, "$1 [...]")
    .replaceAll(JWT, "[...]")
    .replaceAll(ARN_GUID_OR_RUN, (run) => (isSecretLike(run) ? "[...]" : run))
    .trim();
}

/** Words have no digits; what has both, and is long, may be a key. */
function isSecretLike(run: string): boolean {
  const isName = run.toLowerCase().startsWith("arn:aws") || GUID.test(run);
  return !isName && /[A-Za-z]/.test(run) && /\d/.test(run);
}
