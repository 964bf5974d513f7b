import type { PolicyDraft, TrustDraft } from "./policy-draft.ts";

/**
 * A configuration file whose values have the right shape and whose wrong ones have been taken out,
 * so that the rest of it can still be judged: everything is optional, even what a file must have.
 */
export interface ConfigDraft {
  readonly listen?: string;
  readonly admin?: string;
  readonly tls?: {
    readonly certFile?: string;
    readonly keyFile?: string;
    readonly clientCaFile?: string;
  };
  readonly storage?: {
    readonly disk?: { readonly path?: string; readonly maxBytes?: number | string };
    readonly verifyReads?: "first" | "always" | "never";
  };
  readonly defaultUpstream?: string;
  readonly upstreams?: Readonly<Record<string, UpstreamDraft>>;
  readonly credentials?: { readonly dockerConfigFile?: string };
  readonly policy?: PolicyDraft;
  readonly trust?: TrustDraft;
  readonly audit?: "stdout" | AuditDraft;
  readonly accessLog?: "stdout" | { readonly file?: string };
}

export interface UpstreamDraft {
  readonly url?: string | ListDraft;
  readonly aliases?: ListDraft;
  readonly insecure?: boolean;
  readonly caFile?: string;
  readonly auth?: AuthDraft;
  readonly tokenHosts?: ListDraft;
  readonly redirectHosts?: ListDraft;
  readonly tagFreshSeconds?: number;
  readonly serveStaleSeconds?: number;
  readonly access?: "shared";
}

export interface AuditDraft {
  readonly file?: string;
  readonly maxBytes?: number | string;
  readonly keep?: number;
}

export interface AuthDraft {
  readonly username?: string;
  readonly passwordFile?: string;
  readonly password?: string;
}

/** What was wrong leaves a hole, so that the others keep their index and with it their line. */
export type ListDraft = readonly (string | undefined)[];
