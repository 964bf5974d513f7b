import { LRUCache } from "lru-cache";
import type { Credential, FoundCredential } from "../credentials/credential.ts";
import { basicHeaderOf } from "../credentials/credential.ts";
import type { Challenge } from "./challenge.ts";
import { parseChallenges, preferredChallenge } from "./challenge.ts";
import type { LogIns } from "./credentials.ts";
import type { Headers } from "./exchange.ts";
import type { RealmPolicy } from "./realm.ts";
import { pullScopesOf } from "./realm.ts";
import type { TokenRequest, TokenSource } from "./token-source.ts";

export interface AuthorizerOptions {
  readonly credentials: LogIns;
  readonly tokens: TokenSource;
  readonly realms: RealmPolicy;
  readonly challengesMax: number;
}

/** What a request is sent with. */
export interface Grant {
  /** The value of Authorization. */
  readonly header: string;
  /** Where its token came from, so that it can be forgotten when it is refused. */
  readonly source?: { readonly request: TokenRequest; readonly token: string };
}

/** Whose requests: a url of the upstream, a repository, and who we are there. */
export interface Asker {
  readonly registry: URL;
  readonly repository: string;
  readonly credential: Credential | undefined;
  readonly found: FoundCredential | undefined;
}

/** Answers challenges, and remembers them so that the next request needs none. */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #challenges: LRUCache<string, Challenge>;

  constructor(options: AuthorizerOptions, challenges?: LRUCache<string, Challenge>) {
    this.#options = options;
    this.#challenges = challenges ?? new LRUCache({ max: options.challengesMax });
  }

  /** The same registry, asked by somebody else. */
  as(credentials: LogIns): Authorizer {
    return new Authorizer({ ...this.#options, credentials }, this.#challenges);
  }

  async asker(registry: URL, repository: string): Promise<Asker> {
    const found = await this.#options.credentials.find(repository);
    return { registry, repository, found, credential: found?.credential };
  }

  /** Whoever asked was refused. True when there is another log-in to try. */
  async refused({ repository, found }: Asker): Promise<boolean> {
    return found !== undefined && (await this.#options.credentials.refuse(repository, found));
  }

  /** For a first request. Undefined as long as the registry has not asked for anything. */
  async remembered(asker: Asker): Promise<Grant | undefined> {
    const challenge = this.#challenges.get(keyOf(asker));
    return challenge === undefined ? undefined : await this.#grant(challenge, asker);
  }

  /**
   * For the request that follows a refusal. Undefined when there is nothing to answer with: no
   * challenge that we understand, no credential, or one that was sent already. A token that was
   * refused without a challenge is answered with another one for the challenge before, since some
   * say so when it has ended (GHCR 403, ECR Public 400).
   */
  async answer(
    asker: Asker,
    headers: Headers,
    used: Grant | undefined,
  ): Promise<Grant | undefined> {
    if (used?.source !== undefined) {
      this.#options.tokens.drop(used.source.request, used.source.token);
    }
    const challenge =
      preferredChallenge(parseChallenges(headers["www-authenticate"])) ??
      (used?.source && this.#challenges.get(keyOf(asker)));
    if (challenge === undefined) {
      this.#challenges.delete(keyOf(asker));
      return undefined;
    }
    this.#challenges.set(keyOf(asker), challenge);
    const grant = await this.#grant(challenge, asker);
    return grant?.header === used?.header ? undefined : grant;
  }

  /** The token service that was not sent the log-in, since nobody says that it may be. */
  withheldFrom(asker: Asker): string | undefined {
    const challenge = this.#challenges.get(keyOf(asker));
    const isSent = asker.credential === undefined || asker.credential.kind === "registry";
    if (isSent || challenge?.scheme !== "bearer") {
      return;
    }
    const realm = this.#options.realms.judge(
      challenge.parameters.get("realm") ?? "",
      asker.registry,
    );
    return realm.mayHaveCredential ? undefined : realm.url.host;
  }

  async #grant(challenge: Challenge, asker: Asker): Promise<Grant | undefined> {
    const { credential } = asker;
    if (challenge.scheme === "basic") {
      return credential?.kind === "basic"
        ? { header: basicHeaderOf(credential.username, credential.password) }
        : undefined;
    }
    if (credential?.kind === "registry") {
      return { header: `Bearer ${credential.token}` };
    }
    const { credentials, realms, tokens } = this.#options;
    const realm = realms.judge(challenge.parameters.get("realm") ?? "", asker.registry);
    const request: TokenRequest = {
      realm: realm.url,
      service: challenge.parameters.get("service"),
      scopes: pullScopesOf(challenge.parameters.get("scope"), asker.repository),
      credential: realm.mayHaveCredential ? credential : undefined,
      ageMaxMs: credentials.tokenAgeMaxMs,
    };
    const token = await tokens.token(request);
    return { header: `Bearer ${token}`, source: { request, token } };
  }
}

function keyOf({ registry, repository }: Asker): string {
  return `${registry.href} ${repository}`;
}
