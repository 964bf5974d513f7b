import type { AuditSettings, PolicySettings, TrustSettings } from "./policy-settings.ts";

/**
 * What the program runs on, once the configuration has been read: checked, resolved against the
 * folder of the file, defaults filled in, frozen. Only config.ts makes one.
 */
export interface Settings {
  readonly listen: Address;
  readonly admin: Address;
  readonly tls?: TlsSettings;
  readonly storage: StorageSettings;
  /** Where names without a registry belong; without one they are refused. */
  readonly defaultUpstream: string | undefined;
  readonly upstreams: readonly UpstreamSettings[];
  readonly credentials: CredentialSettings;
  /** Without one, whoever can connect may pull. */
  readonly clients?: ClientSettings;
  /** Holds what the admin port wants of whoever changes something; health and metrics need none. */
  readonly adminTokenFile?: string;
  /** Without one everything is served, and counted. */
  readonly policy?: PolicySettings;
  readonly trust: TrustSettings;
  /** Undefined: decisions are not written down. */
  readonly audit?: AuditSettings;
  readonly accessLog: LogTarget;
}

export interface Address {
  /** A name or an IP address without brackets; `::` is every address, IPv4 included. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

export interface TlsSettings {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile?: string;
}

export interface StorageSettings {
  readonly disk: DiskSettings;
  /** When what is read from the store is hashed again: at a blob's first full read, or not. */
  readonly verifyReads: "first" | "always" | "never";
  /** A bucket behind the disk. */
  readonly s3?: S3Settings;
  /** What is kept of which repositories: the first that matches decides. Undefined: all, as long as there is room. */
  readonly retention?: readonly RetentionSettings[];
}

/** At least one of unusedDays and keepTags. */
export interface RetentionSettings {
  /** Globs over the canonical `upstream/repository`. */
  readonly match: readonly string[];
  readonly unusedDays?: number;
  readonly keepTags?: number;
  /** Globs over the tags that keepTags counts; undefined: all. */
  readonly tags?: readonly string[];
}

export interface S3Settings {
  readonly bucket: string;
  /** Empty, or ends with a slash. */
  readonly prefix: string;
  readonly region?: string;
  /** An origin, of another S3 than Amazon's. */
  readonly endpoint?: string;
  readonly forcePathStyle: boolean;
  /** Clients are sent to the bucket for large blobs. */
  readonly redirect: boolean;
}

export interface DiskSettings {
  readonly path: string;
  readonly maxBytes: number;
}

export interface UpstreamSettings {
  /** Canonical: a lower-case host, with a port only when it is not the scheme's own. */
  readonly name: string;
  readonly aliases: readonly string[];
  /** Origins, without a trailing slash: `https://registry-1.docker.io`. A path prefix is kept. */
  readonly urls: readonly string[];
  /** Plain http is allowed. Loopback needs no permission. */
  readonly insecure: boolean;
  readonly caFile?: string;
  readonly auth?: BasicCredential | CloudAuth;
  /** Hosts beside the registry's own that may be sent its credentials for a token. */
  readonly tokenHosts: readonly string[];
  /** Hosts that it may redirect to although they are private addresses. */
  readonly redirectHosts: readonly string[];
  readonly tagFreshSeconds: number;
  readonly serveStaleSeconds: number;
  /** `per-client`: what is held of it is served only to whoever may read it there. */
  readonly access: "shared" | "per-client";
}

/** Exactly one of passwordFile and password (which came from the environment). */
export interface BasicCredential {
  readonly username: string;
  readonly passwordFile?: string;
  readonly password?: string;
}

/** Log-ins that a cloud hands out for a while, by way of its own library. */
export interface CloudAuth {
  readonly provider: "ecr" | "ecr-public" | "acr" | "google";
  /** AWS: of the registry, when its name does not say. */
  readonly region?: string;
  /** Instead of the vendor's: ECR's API, the registry of ACR's exchange, Google's token service. */
  readonly endpoint?: string;
  /** Google: a service account's key; without one, what the machine is. */
  readonly keyFile?: string;
  /** Azure: which managed or workload identity, when there are several. */
  readonly clientId?: string;
}

export interface CredentialSettings {
  readonly dockerConfigFile?: string;
  readonly kubeletProviders?: KubeletProviderSettings;
}

export interface KubeletProviderSettings {
  /** A CredentialProviderConfig of kubelet.config.k8s.io/v1, YAML or JSON. */
  readonly configFile: string;
  /** The folder of the plugins that it names. */
  readonly binDir: string;
}

/** Who may pull. At least one way to be known, or `anonymous`. */
export interface ClientSettings {
  /** Lines of `user:bcrypt`, as `htpasswd -B` writes them. */
  readonly htpasswdFile?: string;
  readonly tokens: readonly TokenSettings[];
  /** Which part of a client's certificate is its name; needs tls.clientCaFile. */
  readonly certificates?: { readonly name: "subject" | "san" };
  /** Whether clients that show nothing are let in. */
  readonly anonymous: boolean;
  /** The first that matches decides, nothing that matches refuses. Undefined: all that are let in pull everything. */
  readonly rules?: readonly AccessRuleSettings[];
}

/** JWTs that are taken (RFC 7519), as a Bearer or as the password of Basic. */
export interface TokenSettings {
  readonly issuer: string;
  readonly audience: string;
  /** A JWK set (RFC 7517). Exactly one of jwksFile and jwksUrl. */
  readonly jwksFile?: string;
  /** https, or http on loopback. */
  readonly jwksUrl?: string;
  /** PEM: who the certificate of jwksUrl is from. */
  readonly caFile?: string;
  /** Holds a token that is sent to jwksUrl: a Kubernetes API server wants one. */
  readonly tokenFile?: string;
  readonly nameClaim: string;
  readonly groupsClaim: string;
}

export interface AccessRuleSettings {
  /** `user:NAME`, `group:NAME` (with `*` within a segment, `**` across), `anonymous`, or `*`: all that are let in. */
  readonly who: readonly string[];
  /** Globs over the canonical `upstream/repository`. */
  readonly pull: readonly string[];
}

/** A file's path, or the standard output. */
export type LogTarget = { readonly file: string } | "stdout";
