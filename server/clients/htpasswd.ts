import { randomBytes } from "node:crypto";
import { ACCESS_LIMITS } from "../limits.ts";
import { ClientsError } from "./clients-error.ts";

export interface HtpasswdProblem {
  /** From 1. */
  readonly line: number;
  /** A sentence, without anything that stands in the line. */
  readonly problem: string;
}

export interface HtpasswdUsers {
  /** bcrypt hashes by user. */
  readonly hashes: ReadonlyMap<string, string>;
  /** What the passwords of unknown users are compared with: takes as long, and fits none. */
  readonly decoy: string;
}

/** The last character of the salt and of the hash stand for less than six bits: bcrypt's own base64. */
const BCRYPT_PATTERN =
  /^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]$/;
const COST_MIN = 4;
const COST_USUAL = 10;
const PROBLEMS_MAX = 20;
const CONTROL_PATTERN = /[\p{Cc}\p{Cs}]/u;

interface Line {
  readonly user: string;
  readonly hash: string;
}

/**
 * What is wrong with a file of `user:bcrypt` lines, as `htpasswd -B` writes them; the first 20.
 * Blank lines and those that begin with `#` are left out.
 */
export function checkHtpasswd(text: string): readonly HtpasswdProblem[] {
  return readLines(text).problems;
}

/** @throws ClientsError that names the first line that is wrong, and none of its content. */
export function parseHtpasswd(text: string): HtpasswdUsers {
  const { hashes, problems } = readLines(text);
  const [first, ...others] = problems;
  if (first !== undefined) {
    const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
    throw new ClientsError(`line ${first.line}: ${first.problem}${more}`);
  }
  return { hashes, decoy: decoyFor([...hashes.values()]) };
}

function readLines(text: string): {
  readonly hashes: ReadonlyMap<string, string>;
  readonly problems: readonly HtpasswdProblem[];
} {
  const hashes = new Map<string, string>();
  const problems: HtpasswdProblem[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.startsWith("#")) {
      continue;
    }
    const read = readLine(line);
    const problem = typeof read === "string" ? read : addUser(hashes, read);
    if (problem !== undefined) {
      problems.push({ line: index + 1, problem });
    }
    if (problems.length >= PROBLEMS_MAX) {
      break;
    }
  }
  return { hashes, problems };
}

function addUser(hashes: Map<string, string>, { user, hash }: Line): string | undefined {
  if (hashes.has(user)) {
    return "its user is in the file already; leave one of the lines";
  }
  if (hashes.size >= ACCESS_LIMITS.usersMax) {
    return `there are more than ${ACCESS_LIMITS.usersMax} users, which is the limit`;
  }
  hashes.set(user, hash);
  return;
}

function readLine(line: string): Line | string {
  const colon = line.indexOf(":");
  if (colon < 0) {
    return "it has no colon; expected user:hash, as htpasswd -B writes it";
  }
  const user = line.slice(0, colon);
  const hash = line.slice(colon + 1).trimEnd();
  return problemOfUser(user) ?? problemOfHash(hash) ?? { user, hash };
}

function problemOfUser(user: string): string | undefined {
  if (user === "") {
    return "it has no user before the colon";
  }
  if (user !== user.trim() || CONTROL_PATTERN.test(user)) {
    return "its user begins or ends with a space, or has a control character";
  }
  const { nameCharactersMax } = ACCESS_LIMITS;
  return user.length > nameCharactersMax
    ? `its user is longer than ${nameCharactersMax} characters`
    : undefined;
}

function problemOfHash(hash: string): string | undefined {
  const [, digits] = BCRYPT_PATTERN.exec(hash) ?? [];
  if (digits === undefined) {
    return "what follows its user is no bcrypt hash, the only kind that is taken; make it with htpasswd -B";
  }
  const cost = Number(digits);
  if (cost < COST_MIN || cost > ACCESS_LIMITS.bcryptCostMax) {
    return `its bcrypt cost is ${cost}; expected ${COST_MIN} to ${ACCESS_LIMITS.bcryptCostMax} (htpasswd -B -C 10)`;
  }
  return;
}

/** A hash of nothing, of the cost that most of the file's have. */
function decoyFor(hashes: readonly string[]): string {
  const counts = new Map<number, number>();
  for (const hash of hashes) {
    const cost = Number(hash.slice(4, 6));
    counts.set(cost, (counts.get(cost) ?? 0) + 1);
  }
  const [usual] = [...counts].toSorted(([, one], [, other]) => other - one);
  const cost = String(usual?.[0] ?? COST_USUAL).padStart(2, "0");
  const random = randomBytes(51).toString("base64").replaceAll("+", ".");
  return `$2b$${cost}$${random.slice(0, 21)}.${random.slice(21, 51)}.`;
}
