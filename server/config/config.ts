import { dirname, resolve } from "node:path";
import type { Address, LogTarget, Settings, StorageSettings, TlsSettings } from "../settings.ts";
import { parseAddress } from "./addresses.ts";
import { readAudit, withAuditDefault } from "./audit.ts";
import { readClients } from "./clients.ts";
import { readAdminTokenFile, readCredentials } from "./credentials.ts";
import { ConfigDocument, readDocument } from "./document.ts";
import type { ConfigDraft } from "./draft.ts";
import { ConfigError } from "./errors.ts";
import { readPolicy } from "./policy.ts";
import type { MatchContext } from "./policy-matches.ts";
import { parseBytes } from "./quantities.ts";
import { readRetention } from "./retention.ts";
import { readS3 } from "./s3.ts";
import { ConfigScope } from "./scope.ts";
import { checkShape } from "./shape.ts";
import { readTrust } from "./trust.ts";
import { readDefaultUpstream, readUpstreams } from "./upstreams.ts";
import type { Environment } from "./variables.ts";

const DEFAULT_LISTEN: Address = { host: "127.0.0.1", port: 5000 };
const DEFAULT_ADMIN: Address = { host: "127.0.0.1", port: 5001 };
const DEFAULT_DATA = "./data";
const DEFAULT_MAX_BYTES = "50GiB";
const MAX_BYTES_MIN = 1_048_576;
const ADDRESS_EXPECTED = "an address such as 127.0.0.1:5000, [::1]:5000 or :5000";

/** The environment that the process was started with. Nothing else reads it. */
export function processEnvironment(): Environment {
  return process.env;
}

/**
 * Reads a configuration file and the environment; without a file, the embedded default, whose data
 * folder is relative to `cwd`. What comes back is checked, complete and frozen.
 *
 * @throws ConfigError with everything that is wrong at once.
 */
export function loadConfig(
  file: string | undefined,
  env: Environment,
  cwd: string = process.cwd(),
): Settings {
  const document =
    file === undefined
      ? new ConfigDocument("the embedded default", "{}", env)
      : readDocument(file, resolve(cwd, file), env);
  const { draft, problems } = checkShape(document);
  const scope = new ConfigScope(document, file === undefined ? cwd : dirname(resolve(cwd, file)));
  const overrides = { env, cwd, scope };
  const settings = withAuditDefault(withEnvironment(readSettings(scope, draft), overrides));
  checkPorts(settings, overrides);
  const all = [...document.problems, ...problems, ...scope.problems];
  if (all.length > 0) {
    throw new ConfigError(all);
  }
  return deepFreeze(settings);
}

function readSettings(scope: ConfigScope, draft: ConfigDraft): Settings {
  const upstreams = readUpstreams(scope, draft);
  const tls = readTls(scope, draft.tls);
  const adminTokenFile = readAdminTokenFile(scope, draft.adminTokenFile);
  const clients = readClients(scope, draft, upstreams);
  const policy = readPolicy(scope, draft.policy, upstreams);
  const accessLog = readLogTarget(scope, draft.accessLog);
  const audit = readAudit(scope, draft.audit, accessLog);
  return {
    listen: readAddress(scope, "listen", draft) ?? DEFAULT_LISTEN,
    admin: readAddress(scope, "admin", draft) ?? DEFAULT_ADMIN,
    ...(adminTokenFile !== undefined && { adminTokenFile }),
    ...(tls !== undefined && { tls }),
    storage: readStorage({ scope, upstreams }, draft.storage),
    defaultUpstream: readDefaultUpstream(scope, draft, upstreams),
    upstreams,
    credentials: readCredentials(scope, draft.credentials),
    ...(clients !== undefined && { clients }),
    ...(policy !== undefined && { policy }),
    trust: readTrust(scope, draft.trust),
    ...(audit !== undefined && { audit }),
    accessLog,
  };
}

function readAddress(
  scope: ConfigScope,
  key: "listen" | "admin",
  draft: ConfigDraft,
): Address | undefined {
  const text = draft[key];
  const address = text === undefined ? undefined : parseAddress(text);
  if (text !== undefined && address === undefined) {
    scope.mismatch([key], ADDRESS_EXPECTED);
  }
  return address;
}

function readTls(scope: ConfigScope, tls: ConfigDraft["tls"]): TlsSettings | undefined {
  const certFile = scope.readableFile(["tls", "certFile"], tls?.certFile);
  const keyFile = scope.readableFile(["tls", "keyFile"], tls?.keyFile);
  const clientCaFile = scope.readableFile(["tls", "clientCaFile"], tls?.clientCaFile);
  if (certFile === undefined || keyFile === undefined) {
    return undefined;
  }
  return { certFile, keyFile, ...(clientCaFile !== undefined && { clientCaFile }) };
}

function readStorage(context: MatchContext, storage: ConfigDraft["storage"]): StorageSettings {
  const { scope } = context;
  const maxBytes = parseBytes(storage?.disk?.maxBytes ?? DEFAULT_MAX_BYTES);
  if (maxBytes === undefined || maxBytes < MAX_BYTES_MIN) {
    scope.mismatch(["storage", "disk", "maxBytes"], "a size from 1MiB on that is exact in bytes");
  }
  const s3 = readS3(scope, storage?.s3);
  return {
    disk: { path: scope.path(storage?.disk?.path ?? DEFAULT_DATA), maxBytes: maxBytes ?? 0 },
    verifyReads: storage?.verifyReads ?? "first",
    ...(s3 !== undefined && { s3 }),
    ...(storage?.retention !== undefined && {
      retention: readRetention(context, storage.retention),
    }),
  };
}

function readLogTarget(scope: ConfigScope, target: ConfigDraft["accessLog"]): LogTarget {
  const file = target === "stdout" ? undefined : target?.file;
  return file === undefined ? "stdout" : { file: scope.path(file) };
}

interface Overrides {
  readonly env: Environment;
  readonly cwd: string;
  readonly scope: ConfigScope;
}

/** Set to nothing counts as not set: that is what an unfilled line of a compose file does. */
function withEnvironment(settings: Settings, { env, cwd, scope }: Overrides): Settings {
  const address = (variable: string, otherwise: Address): Address => {
    const text = env[variable];
    const parsed = text ? parseAddress(text) : otherwise;
    if (parsed === undefined) {
      const message = `found ${JSON.stringify(text)}, expected ${ADDRESS_EXPECTED}`;
      scope.problems.push({ file: variable, message });
    }
    return parsed ?? otherwise;
  };
  const { storage } = settings;
  const data = env["SLUICE_DATA"];
  const path = data ? resolve(cwd, data) : storage.disk.path;
  return {
    ...settings,
    listen: address("SLUICE_LISTEN", settings.listen),
    admin: address("SLUICE_ADMIN", settings.admin),
    storage: { ...storage, disk: { ...storage.disk, path } },
  };
}

function checkPorts({ listen, admin }: Settings, { env, scope }: Overrides): void {
  if (listen.port !== admin.port || listen.port === 0) {
    return;
  }
  const message = `found port ${admin.port} for listen and for admin, expected two ports`;
  const variable = ["SLUICE_ADMIN", "SLUICE_LISTEN"].find((name) => env[name]);
  if (variable === undefined) {
    scope.problem([scope.written(["admin"]) === undefined ? "listen" : "admin"], message);
  } else {
    scope.problems.push({ file: variable, message });
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
