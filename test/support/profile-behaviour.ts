/** An answer that is not what was asked for; a challenge goes with a 401. An object is sent as JSON. */
export interface Said {
  readonly status: number;
  readonly body: string | object;
}

export interface ChallengeContext {
  /** `127.0.0.1:40123`. */
  readonly host: string;
  /** Where tokens are given out. */
  readonly realm: string;
  readonly repository: string;
}

export interface TokenBehaviour {
  /** Of the token service's url. */
  readonly path: string;
  /** On another host than the registry, which is then one of its tokenHosts. */
  readonly isElsewhere?: boolean;
  readonly reply: (token: string) => object;
  /** To a user or password that is wrong, expired or revoked. */
  readonly refusal: Said;
  /** To whoever shows a token that has ended. */
  readonly ended: Said;
}

/** How a kind of registry behaves, as its makers or its users describe it. */
export interface RegistryBehaviour {
  readonly name: string;
  /** As people log in there. */
  readonly username: string;
  readonly repository: string;
  /** Of the registry's url, before `/v2/`. */
  readonly pathPrefix?: string;
  readonly challenge: (context: ChallengeContext) => string;
  /** Absent: Basic. */
  readonly tokens?: TokenBehaviour;
  /** Without a log-in. */
  readonly unknown: Said;
  /** Basic: to a password that never was one, and to one that has ended. */
  readonly wrong?: Said;
  readonly ended?: Said;
  /** Logged in, and no such repository, or none that one may read. */
  readonly unreadable: Said;
  readonly missingTag: Said;
  /** Where blobs are: sent as they are, at a signed url on another host, or at another path. */
  readonly blobs: "here" | "elsewhere" | "downloads";
  /** What it answers when it has no referrers API; absent: it has. */
  readonly noReferrers?: Said & { readonly location?: string };
  /** Goes with every manifest, HEAD and GET. */
  readonly manifestHeaders?: Readonly<Record<string, string>>;
  /** Of the next page of tags. Absent: relative, with `n` and `last`. */
  readonly tagsLink?: (path: string, last: string, origin: string) => string;
  /** Its pages of tags are found by `next_page` only. */
  readonly ignoresLast?: boolean;
  /** Left out of its answers to HEAD. */
  readonly headLacks?: readonly string[];
}

/** The error body of distribution-spec v1.1.1 §error-codes. */
export function errors(code: string, message: string, detail?: unknown): object {
  return { errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] };
}

/** `Bearer realm="…",service="…",scope="repository:…:pull"`, which most of them send. */
export function bearer(service: string): RegistryBehaviour["challenge"] {
  return ({ realm, repository }) =>
    `Bearer realm="${realm}",service="${service}",scope="repository:${repository}:pull"`;
}
