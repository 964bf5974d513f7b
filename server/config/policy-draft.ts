import type { PolicyMode } from "../policy-settings.ts";
import type { ListDraft } from "./draft.ts";

/** The policy section of a ConfigDraft: of the right shape, with holes where something was wrong. */
export interface PolicyDraft {
  readonly unmatched?: "allow" | "warn" | "deny";
  readonly rules?: readonly (RuleDraft | undefined)[];
  readonly exceptions?: readonly (ExceptionDraft | undefined)[];
  readonly deny?: readonly (DenyDraft | undefined)[];
}

export interface RuleDraft {
  readonly name?: string;
  readonly match?: ListDraft;
  readonly mode?: PolicyMode;
  readonly tags?: TagsDraft;
  readonly signatures?: SeveralDraft;
  readonly attestations?: readonly (AttestationDraft | undefined)[];
  readonly children?: "inherit" | "require-own";
  readonly foreignLayers?: "refuse" | "allow";
}

export interface TagsDraft {
  readonly allow?: ListDraft;
  readonly semver?: boolean;
  readonly digestOnly?: boolean;
}

/** One of the two. */
export interface SeveralDraft {
  readonly any?: readonly (AuthorityDraft | undefined)[];
  readonly all?: readonly (AuthorityDraft | undefined)[];
}

/** One of the three. */
export interface AuthorityDraft {
  readonly keyless?: KeylessDraft;
  readonly key?: KeyDraft;
  readonly notation?: NotationDraft;
}

export interface KeylessDraft {
  readonly issuer?: string;
  readonly subject?: string;
  readonly subjectGlob?: string;
  readonly trustedRootFile?: string;
  readonly log?: "require" | "ignore";
}

export interface KeyDraft {
  readonly file?: string;
  readonly log?: "require" | "ignore";
  readonly trustedRootFile?: string;
}

export interface NotationDraft {
  readonly trustStoreDir?: string;
  readonly subjects?: ListDraft;
}

export interface AttestationDraft {
  readonly predicateType?: string;
  readonly by?: AuthorityDraft & SeveralDraft;
  readonly builder?: ListDraft;
  readonly source?: ListDraft;
  readonly vulnerabilities?: VulnerabilitiesDraft;
}

export interface VulnerabilitiesDraft {
  readonly scanner?: ListDraft;
  readonly maxAgeDays?: number;
  readonly refuse?: ListDraft;
}

export interface ExceptionDraft {
  readonly name?: string;
  readonly match?: ListDraft;
  readonly digest?: string;
  readonly until?: string;
  readonly reason?: string;
  readonly ticket?: string;
}

export interface DenyDraft {
  readonly digest?: string;
  readonly signer?: AuthorityDraft;
  readonly reason?: string;
}

export interface TrustDraft {
  readonly publicGood?: "bundled" | "tuf";
  readonly tufMirror?: string;
  readonly tufRootFile?: string;
}
