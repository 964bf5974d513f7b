import { LRUCache } from "lru-cache";
import { CREDENTIAL_LIMITS } from "../limits.ts";
import type { Credential } from "./credential.ts";
import { CredentialError, fingerprintOf } from "./credential.ts";
import { parseJson } from "./json-fault.ts";
import { runPlugin } from "./run-plugin.ts";

/** What helpers, and the files, write where there is a token and no user. */
export const NO_USERNAME = "<token>";

const SUFFIX_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

/** What a helper has to print when it knows nothing of a server, and to fail. */
const NOT_FOUND = "credentials not found in native keychain";

export interface HelperQuestion {
  /** Of `docker-credential-SUFFIX`, as a file says it. */
  readonly suffix: string;
  /** What the log-in was stored under: a host, or a URL. */
  readonly serverKey: string;
  /** Where the suffix stands, for messages: `credsStore of /etc/sluice/config.json`. */
  readonly place: string;
}

interface Kept {
  readonly atMs: number;
  readonly answer: Credential | undefined | CredentialError;
}

/**
 * Docker's credential helpers, each asked once at a time for a server. They are slow, so what they
 * say is kept for a short while, and a failure for a shorter one.
 *
 * @see https://github.com/docker/docker-credential-helpers#development
 */
export class DockerHelpers {
  readonly #now: () => number;
  readonly #kept = new LRUCache<string, Kept>({ max: CREDENTIAL_LIMITS.helperAnswersMax });
  readonly #flights = new Map<string, Promise<Credential | undefined>>();

  /** @param now - in milliseconds, from any start. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * Undefined when it has no log-in for that server.
   *
   * @throws CredentialError for a suffix that is no name, a helper that is not there or fails, and
   *   an answer that is none.
   */
  get(question: HelperQuestion): Promise<Credential | undefined> {
    const key = `${question.suffix} ${question.serverKey}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined && this.#now() - kept.atMs < lifetimeOf(kept)) {
      const { answer } = kept;
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    }
    const flight = this.#flights.get(key) ?? this.#fly(key, question);
    this.#flights.set(key, flight);
    return flight;
  }

  /** What a registry refused is fetched anew, unless that was done a moment ago. */
  refused(credential: Credential): void {
    const fingerprint = fingerprintOf(credential);
    for (const [key, { atMs, answer }] of this.#kept.entries()) {
      const isNew = this.#now() - atMs < CREDENTIAL_LIMITS.helperNewMs;
      if (!isNew && !(answer instanceof Error) && fingerprintOf(answer) === fingerprint) {
        this.#kept.delete(key);
      }
    }
  }

  async #fly(key: string, question: HelperQuestion): Promise<Credential | undefined> {
    try {
      const answer = await ask(question);
      this.#kept.set(key, { atMs: this.#now(), answer });
      return answer;
    } catch (error) {
      if (error instanceof CredentialError) {
        this.#kept.set(key, { atMs: this.#now(), answer: error });
      }
      throw error;
    } finally {
      this.#flights.delete(key);
    }
  }
}

function lifetimeOf({ answer }: Kept): number {
  return answer instanceof Error
    ? CREDENTIAL_LIMITS.helperFailedMs
    : CREDENTIAL_LIMITS.helperKeptMs;
}

async function ask({ suffix, serverKey, place }: HelperQuestion): Promise<Credential | undefined> {
  if (!SUFFIX_PATTERN.test(suffix)) {
    throw new CredentialError(
      `${place} names no helper: expected what follows docker-credential- in its name, of ` +
        "letters, digits, - and _",
    );
  }
  const command = `docker-credential-${suffix}`;
  const description = `${command}, which ${place} names,`;
  const result = await runPlugin({ command, args: ["get"], input: serverKey, description });
  const { exitCode, stdout, stderr } = result;
  if (exitCode === 0) {
    return credentialOf(stdout, description);
  }
  if (stdout.includes(NOT_FOUND) || stderr.includes(NOT_FOUND)) {
    return undefined;
  }
  const said = stderr === "" ? "" : ` (it said: ${stderr})`;
  throw new CredentialError(
    `${description} failed with exit code ${exitCode}${said}; see what it says to ` +
      `"echo ${serverKey} | ${command} get", as the user that runs this`,
  );
}

/** `{"ServerURL": …, "Username": …, "Secret": …}`; the first does not matter. */
function credentialOf(stdout: string, description: string): Credential | undefined {
  const { Username: username = "", Secret: secret = "" } = parse(stdout, description);
  if (typeof username !== "string" || typeof secret !== "string") {
    throw noAnswer(description);
  }
  if (secret === "") {
    return undefined;
  }
  return username === NO_USERNAME
    ? { kind: "identity", username, token: secret }
    : { kind: "basic", username, password: secret };
}

function parse(stdout: string, description: string): Readonly<Record<string, unknown>> {
  const answer = parseJson(stdout);
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    throw noAnswer(description);
  }
  return { ...answer };
}

function noAnswer(description: string): CredentialError {
  return new CredentialError(
    `${description} answered with something else than a JSON object with Username and Secret as ` +
      "texts; look at what is installed under that name",
  );
}
