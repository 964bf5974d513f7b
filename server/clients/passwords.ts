import { compare } from "bcrypt";
import { LRUCache } from "lru-cache";
import { SingleFlight } from "../cache/single-flight.ts";
import { ACCESS_LIMITS } from "../limits.ts";
import { CheckGate } from "./check-gate.ts";
import { LogInProblem, OwnLogInProblem } from "./clients-error.ts";
import type { HtpasswdUsers } from "./htpasswd.ts";
import { parseHtpasswd } from "./htpasswd.ts";
import type { Identity } from "./identity.ts";
import { LogInKeys } from "./log-in-keys.ts";
import { SourceFile } from "./source-file.ts";

/** How long a wrong one is known: enough for clients that try again at once. */
const WRONG_MS = 5000;

export interface PasswordsOptions {
  readonly path: string;
  /** The wall clock in milliseconds. */
  readonly now: () => number;
  readonly onFault: (error: unknown) => void;
  /** bcrypt, off the main thread. */
  readonly compare?: (password: string, hash: string) => Promise<boolean>;
}

/**
 * The users of an htpasswd file. Whether a user exists cannot be told from the answer, nor from how
 * long it takes, as long as all hashes of the file have the same cost.
 *
 * bcrypt looks at the first 72 bytes of a password only, here as in Apache: what htpasswd made is
 * taken as it is. A NUL, at which some implementations stop reading, is in no right password.
 */
export class Passwords {
  readonly #file: SourceFile<HtpasswdUsers>;
  readonly #compare: (password: string, hash: string) => Promise<boolean>;
  readonly #gate: CheckGate = new CheckGate(ACCESS_LIMITS.passwordChecksMax);
  readonly #flights = new SingleFlight<boolean>();
  readonly #keys = new LogInKeys();
  readonly #right: LRUCache<string, true>;
  readonly #wrong: LRUCache<string, true>;

  /** @throws ClientsError when the file cannot be read, or a line of it is wrong. */
  static async create(options: PasswordsOptions): Promise<Passwords> {
    const { path, now, onFault } = options;
    const file = await SourceFile.open({
      setting: "clients.htpasswdFile",
      path,
      bytesMax: ACCESS_LIMITS.passwordFileBytesMax,
      parse: parseHtpasswd,
      now,
      onFault,
    });
    return new Passwords(file, options);
  }

  private constructor(file: SourceFile<HtpasswdUsers>, options: PasswordsOptions) {
    this.#file = file;
    this.#compare = options.compare ?? compareBcrypt;
    const shared = { max: ACCESS_LIMITS.logInsMax, ttlResolution: 0, perf: { now: options.now } };
    this.#right = new LRUCache({ ...shared, ttl: ACCESS_LIMITS.rightMs, updateAgeOnGet: true });
    this.#wrong = new LRUCache({ ...shared, ttl: WRONG_MS });
  }

  /** @throws LogInProblem when it is wrong; RegistryError `overloaded`. */
  async identify(user: string, password: string): Promise<Identity> {
    // RFC 7617 §2: neither may have control characters; and NUL divides the parts of a key.
    const isSound = !user.includes("\0") && !password.includes("\0");
    if (!isSound || !(await this.#isRight(user, password))) {
      const { hashes } = await this.#file.read();
      const problem = "the user name or the password is wrong";
      throw hashes.has(user) ? new OwnLogInProblem(problem) : new LogInProblem(problem);
    }
    return { name: user, names: [user], groups: [], method: "password" };
  }

  async #isRight(user: string, password: string): Promise<boolean> {
    const { hashes, decoy } = await this.#file.read();
    const known = hashes.get(user);
    const hash = known ?? decoy;
    // With the hash in it, an answer is never older than the file.
    const key = this.#keys.nameOf(user, password, hash);
    if (this.#right.get(key) === true) {
      return true;
    }
    if (this.#wrong.has(key)) {
      return false;
    }
    return await this.#flights.run(key, async () => {
      const isSame = await this.#gate.run(() => this.#compare(password, hash));
      const isRight = isSame && known !== undefined;
      (isRight ? this.#right : this.#wrong).set(key, true);
      return isRight;
    });
  }
}

/** In libuv's threads. `$2y$` is what PHP and Apache call `$2b$`; the library knows the one name only. */
export function compareBcrypt(password: string, hash: string): Promise<boolean> {
  return compare(password, hash.replace(/^\$2y\$/, "$2b$"));
}
