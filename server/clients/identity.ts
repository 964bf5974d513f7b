/** Who a client has proved to be. */
export interface Identity {
  /** For logs and the audit: `alice`, `system:serviceaccount:team-a:default`; `anonymous`. */
  readonly name: string;
  /** Everything that `user:` of a rule may call it by, `name` among them; empty for nobody. */
  readonly names: readonly string[];
  /** What `group:` of a rule may call it by. */
  readonly groups: readonly string[];
  readonly method: "password" | "token" | "certificate" | "anonymous";
}

/** What a request carries to prove who sends it. */
export interface Presented {
  /** The header as it came. */
  readonly authorization: string | undefined;
  /** Of the connection; undefined without TLS, without a certificate. */
  readonly certificate: PresentedCertificate | undefined;
  /** A header that is no log-in of ours may be one for the upstream. */
  readonly mayBeForUpstream: boolean;
}

/** A client's certificate. */
export interface PresentedCertificate {
  /** Whether it is from the configured authorities, and valid now. */
  readonly isTrusted: boolean;
  /** DER. */
  readonly raw: Buffer;
}

export interface Identified {
  readonly identity: Identity;
  /** The Authorization header was a log-in to us: it is not to be passed on to anybody. */
  readonly isOurs: boolean;
}
