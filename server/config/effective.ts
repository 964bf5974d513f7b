import { stringify } from "yaml";
import type { AuditSettings } from "../policy-settings.ts";
import type { ClientSettings, Settings, UpstreamSettings } from "../settings.ts";
import { formatAddress } from "./addresses.ts";
import { effectivePolicy } from "./effective-policy.ts";
import { formatBytes } from "./quantities.ts";

/** The settings as a configuration file, with secrets masked. */
export function effectiveConfig(settings: Settings): string {
  return stringify(effectiveValues(settings));
}

/** The settings as a configuration file would have them, with secrets masked. */
export function effectiveValues(settings: Settings): Readonly<Record<string, unknown>> {
  const { listen, admin, tls, storage, defaultUpstream, credentials, accessLog } = settings;
  const { adminTokenFile, clients, policy, trust, audit } = settings;
  const { verifyReads, retention, disk, s3 } = storage;
  const { path, maxBytes } = disk;
  return {
    listen: formatAddress(listen),
    admin: formatAddress(admin),
    ...(adminTokenFile !== undefined && { adminTokenFile }),
    ...(tls !== undefined && { tls }),
    storage: {
      disk: { path, maxBytes: formatBytes(maxBytes) },
      verifyReads,
      ...(s3 !== undefined && { s3 }),
      ...(retention !== undefined && { retention }),
    },
    ...(defaultUpstream !== undefined && { defaultUpstream }),
    upstreams: Object.fromEntries(settings.upstreams.map(printableUpstream)),
    ...(Object.keys(credentials).length > 0 && { credentials }),
    ...(clients !== undefined && { clients: printableClients(clients) }),
    ...(policy !== undefined && { policy: effectivePolicy(policy) }),
    trust,
    ...(audit !== undefined && { audit: printableAudit(audit) }),
    accessLog,
  };
}

function printableUpstream(upstream: UpstreamSettings): [string, unknown] {
  const { name, urls, auth, ...rest } = upstream;
  const masked = auth === undefined || !("password" in auth) ? auth : { ...auth, password: "***" };
  return [name, { url: urls, ...rest, ...(masked !== undefined && { auth: masked }) }];
}

/** An empty list is no configuration: it would say that there are no tokens that count. */
function printableClients({ tokens, ...rest }: ClientSettings): unknown {
  return { ...rest, ...(tokens.length > 0 && { tokens }) };
}

function printableAudit({ target, maxBytes, keep }: AuditSettings): unknown {
  return target === "stdout" ? target : { ...target, maxBytes: formatBytes(maxBytes), keep };
}
