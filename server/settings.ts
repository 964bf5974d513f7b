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
  readonly auth?: BasicCredential;
  /** Hosts beside the registry's own that may be sent its credentials for a token. */
  readonly tokenHosts: readonly string[];
  /** Hosts that it may redirect to although they are private addresses. */
  readonly redirectHosts: readonly string[];
  readonly tagFreshSeconds: number;
  readonly serveStaleSeconds: number;
}

/** Exactly one of passwordFile and password (which came from the environment). */
export interface BasicCredential {
  readonly username: string;
  readonly passwordFile?: string;
  readonly password?: string;
}

export interface CredentialSettings {
  readonly dockerConfigFile?: string;
}

/** A file's path, or the standard output. */
export type LogTarget = { readonly file: string } | "stdout";
