import type { CloudAuth } from "../settings.ts";
import type { PolicyDraft, TrustDraft } from "./policy-draft.ts";

/**
 * A configuration file whose values have the right shape and whose wrong ones have been taken out,
 * so that the rest of it can still be judged: everything is optional, even what a file must have.
 */
export interface ConfigDraft {
  readonly listen?: string;
  readonly admin?: string;
  readonly adminTokenFile?: string;
  readonly tls?: {
    readonly certFile?: string;
    readonly keyFile?: string;
    readonly clientCaFile?: string;
  };
  readonly storage?: {
    readonly disk?: { readonly path?: string; readonly maxBytes?: number | string };
    readonly verifyReads?: "first" | "always" | "never";
    readonly s3?: S3Draft;
    readonly retention?: readonly (RetentionDraft | undefined)[];
  };
  readonly defaultUpstream?: string;
  readonly upstreams?: Readonly<Record<string, UpstreamDraft>>;
  readonly credentials?: CredentialsDraft;
  readonly clients?: ClientsDraft;
  readonly policy?: PolicyDraft;
  readonly trust?: TrustDraft;
  readonly audit?: "stdout" | AuditDraft;
  readonly accessLog?: "stdout" | { readonly file?: string };
}

export interface RetentionDraft {
  readonly match?: ListDraft;
  readonly unusedDays?: number;
  readonly keepTags?: number;
  readonly tags?: ListDraft;
}

export interface S3Draft {
  readonly bucket?: string;
  readonly prefix?: string;
  readonly region?: string;
  readonly endpoint?: string;
  readonly forcePathStyle?: boolean;
  readonly redirect?: boolean;
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
  readonly access?: "shared" | "per-client";
}

export interface AuditDraft {
  readonly file?: string;
  readonly maxBytes?: number | string;
  readonly keep?: number;
}

/** The first three go together, and the others. */
export interface AuthDraft {
  readonly username?: string;
  readonly passwordFile?: string;
  readonly password?: string;
  readonly provider?: CloudAuth["provider"];
  readonly region?: string;
  readonly endpoint?: string;
  readonly keyFile?: string;
  readonly clientId?: string;
}

export interface CredentialsDraft {
  readonly dockerConfigFile?: string;
  readonly kubeletProviders?: { readonly configFile?: string; readonly binDir?: string };
}

export interface ClientsDraft {
  readonly htpasswdFile?: string;
  readonly tokens?: readonly (TokenDraft | undefined)[];
  readonly certificates?: { readonly name?: "subject" | "san" };
  readonly anonymous?: boolean;
  readonly rules?: readonly (AccessRuleDraft | undefined)[];
}

export interface TokenDraft {
  readonly issuer?: string;
  readonly audience?: string;
  readonly jwksFile?: string;
  readonly jwksUrl?: string;
  readonly caFile?: string;
  readonly tokenFile?: string;
  readonly nameClaim?: string;
  readonly groupsClaim?: string;
}

export interface AccessRuleDraft {
  readonly who?: ListDraft;
  readonly pull?: ListDraft;
}

/** What was wrong leaves a hole, so that the others keep their index and with it their line. */
export type ListDraft = readonly (string | undefined)[];
