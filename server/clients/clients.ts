import { RegistryError } from "../errors.ts";
import { shown } from "../oci/reference.ts";
import type { ClientSettings } from "../settings.ts";
import { isEmptyLogIn, parseAuthorization } from "./authorization.ts";
import { Certificates } from "./certificates.ts";
import { LogInProblem, OwnLogInProblem } from "./clients-error.ts";
import type { Identified, Identity, Presented } from "./identity.ts";
import { Passwords } from "./passwords.ts";
import { AccessRules } from "./rules.ts";
import { isTokenLike } from "./token-claims.ts";
import { Tokens } from "./tokens.ts";

export interface ClientsOptions {
  readonly settings: ClientSettings;
  /** The wall clock in milliseconds. */
  readonly now: () => number;
  /** A fault of what was configured (an unreadable file, a key set that cannot be fetched): worth a line. */
  readonly onFault: (error: unknown) => void;
}

/** The ways in which a client may be known; undefined for what is not configured. */
interface Ways {
  readonly passwords: Passwords | undefined;
  readonly tokens: Tokens | undefined;
  readonly certificates: Certificates | undefined;
}

const ANONYMOUS: Identity = { name: "anonymous", names: [], groups: [], method: "anonymous" };
/**
 * RFC 7617. Basic carries tokens as well, as its password: a Bearer challenge would send clients to
 * a token service, which we do not have.
 */
const CHALLENGE = 'Basic realm="Sluice", charset="UTF-8"';
const HOW_TO_LOG_IN =
  "use docker login, an imagePullSecret, or a header in the node's hosts.toml for this registry";
const HOW_TO_SHOW_CERTIFICATE =
  "give the node one from an authority of tls.clientCaFile (client = ... in its hosts.toml)";

/** Who may pull: who clients are, and which repositories they may read. */
export class Clients implements AsyncDisposable {
  /** How to log in, from the configuration alone: values of WWW-Authenticate. */
  readonly challenges: readonly string[];
  readonly #ways: Ways;
  readonly #rules: AccessRules;
  readonly #isAnonymousLetIn: boolean;

  /** @throws ClientsError when a file that is configured cannot be read or parsed. */
  static async create({ settings, now, onFault }: ClientsOptions): Promise<Clients> {
    const { htpasswdFile, tokens, certificates } = settings;
    return new Clients(settings, {
      passwords:
        htpasswdFile === undefined
          ? undefined
          : await Passwords.create({ path: htpasswdFile, now, onFault }),
      tokens:
        tokens.length === 0 ? undefined : await Tokens.create({ settings: tokens, now, onFault }),
      certificates: certificates && new Certificates(certificates.name),
    });
  }

  private constructor(settings: ClientSettings, ways: Ways) {
    this.#ways = ways;
    this.#rules = new AccessRules(settings.rules);
    this.#isAnonymousLetIn = settings.anonymous;
    const takesLogIns = ways.passwords !== undefined || ways.tokens !== undefined;
    this.challenges = takesLogIns ? [CHALLENGE] : [];
  }

  /**
   * Who sends a request. A log-in that is wrong is never taken for none, and one that is right comes
   * before a certificate.
   *
   * @throws RegistryError `client-unknown` with challenges, `client-denied` where only certificates
   *   count; `overloaded`.
   */
  async identify(presented: Presented): Promise<Identified> {
    const { authorization = "", mayBeForUpstream } = presented;
    if (isEmptyLogIn(authorization) || !this.#takesLogIns) {
      return { identity: this.#withoutLogIn(presented), isOurs: false };
    }
    try {
      return { identity: await this.#logIn(authorization), isOurs: true };
    } catch (error) {
      if (!(error instanceof LogInProblem)) {
        throw error;
      }
      const isForUs = error instanceof OwnLogInProblem;
      const other = mayBeForUpstream && !isForUs ? this.#find(presented) : undefined;
      if (other === undefined) {
        throw this.#unknown(`${error.message}: ${HOW_TO_LOG_IN}`, error);
      }
      return { identity: other, isOurs: false };
    }
  }

  /**
   * @param name - the canonical `upstream/repository`.
   * @throws RegistryError `client-denied`; `client-unknown` when a log-in could help.
   */
  requirePull(identity: Identity, name: string): void {
    if (this.#rules.allow(identity, name)) {
      return;
    }
    if (identity.method === "anonymous" && this.#takesLogIns) {
      throw this.#unknown(`${name} is not pulled without a log-in: ${HOW_TO_LOG_IN}`);
    }
    const who =
      identity.method === "anonymous"
        ? "a client without a log-in"
        : `${shown(identity.name)} (${identity.method})`;
    throw new RegistryError(
      "client-denied",
      `${who} may not pull ${name}: no rule of clients.rules allows it; ask whoever runs this ` +
        "proxy for one, or log in as somebody else",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ways.tokens?.[Symbol.asyncDispose]();
  }

  get #takesLogIns(): boolean {
    return this.challenges.length > 0;
  }

  /** @throws LogInProblem when it is wrong; RegistryError `overloaded`. */
  async #logIn(header: string): Promise<Identity> {
    const { passwords, tokens } = this.#ways;
    const logIn = parseAuthorization(header);
    if (logIn === undefined) {
      throw new LogInProblem("the Authorization header is neither Basic nor Bearer, or malformed");
    }
    if (logIn.scheme === "bearer") {
      return await required(tokens, "a Bearer token is not taken here").identify(logIn.token);
    }
    if (tokens !== undefined && isTokenLike(logIn.password)) {
      return await tokens.identify(logIn.password);
    }
    const users = required(passwords, "the password is no token (JWT), and only tokens are taken");
    return await users.identify(logIn.username, logIn.password);
  }

  #withoutLogIn(presented: Presented): Identity {
    const found = this.#find(presented);
    if (found !== undefined) {
      return found;
    }
    const hasCertificate = this.#ways.certificates !== undefined;
    const isRefused = hasCertificate && presented.certificate !== undefined;
    const what = isRefused
      ? "the client's certificate is from no configured authority, or not valid now"
      : "the request carries no log-in";
    if (this.#takesLogIns) {
      throw this.#unknown(`${what}: ${HOW_TO_LOG_IN}`);
    }
    throw this.#unknown(
      isRefused
        ? `${what}: ${HOW_TO_SHOW_CERTIFICATE}`
        : `a client certificate is needed here: ${HOW_TO_SHOW_CERTIFICATE}`,
    );
  }

  /** Whoever it is without a log-in. @throws RegistryError `client-unknown` for a useless certificate. */
  #find({ certificate }: Presented): Identity | undefined {
    try {
      const identity = this.#ways.certificates?.identify(certificate);
      return identity ?? (this.#isAnonymousLetIn ? ANONYMOUS : undefined);
    } catch (error) {
      if (error instanceof LogInProblem) {
        throw this.#unknown(`${error.message}: see clients.certificates`, error);
      }
      throw error;
    }
  }

  /** A 401 has to say how to log in (RFC 9110 §15.5.2), which does nothing for who lacks a certificate. */
  #unknown(message: string, cause?: Error): RegistryError {
    const code = this.#takesLogIns ? "client-unknown" : "client-denied";
    return new RegistryError(code, message, { challenges: this.challenges, cause });
  }
}

function required<T>(way: T | undefined, otherwise: string): T {
  if (way === undefined) {
    throw new LogInProblem(otherwise);
  }
  return way;
}
