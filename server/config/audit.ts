import { join } from "node:path";
import type { AuditSettings } from "../policy-settings.ts";
import type { LogTarget, Settings } from "../settings.ts";
import type { ConfigDraft } from "./draft.ts";
import { parseBytes } from "./quantities.ts";
import type { ConfigScope } from "./scope.ts";

const MAX_BYTES_DEFAULT = 104_857_600;
/** A batch of lines goes into one file: below this, files would be much larger than asked for. */
const MAX_BYTES_MIN = 1_048_576;
const KEEP_DEFAULT = 10;

/** Where decisions are written down, as the file has it. */
export function readAudit(
  scope: ConfigScope,
  audit: ConfigDraft["audit"],
  accessLog: LogTarget,
): AuditSettings | undefined {
  if (audit === undefined) {
    return undefined;
  }
  if (audit === "stdout") {
    return { target: "stdout", maxBytes: MAX_BYTES_DEFAULT, keep: KEEP_DEFAULT };
  }
  const maxBytes = parseBytes(audit.maxBytes ?? MAX_BYTES_DEFAULT);
  if (maxBytes === undefined || maxBytes < MAX_BYTES_MIN) {
    scope.mismatch(["audit", "maxBytes"], "a size from 1MiB on that is exact in bytes");
  }
  const file = scope.path(audit.file ?? "");
  if (accessLog !== "stdout" && accessLog.file === file) {
    scope.mismatch(["audit", "file"], "another file than accessLog has");
  }
  return { target: { file }, maxBytes: maxBytes ?? 0, keep: audit.keep ?? KEEP_DEFAULT };
}

/** A policy without a record of its decisions could not be answered for. */
export function withAuditDefault(settings: Settings): Settings {
  if (settings.policy === undefined || settings.audit !== undefined) {
    return settings;
  }
  const target = { file: join(settings.storage.disk.path, "audit.jsonl") };
  return {
    ...settings,
    audit: { target, maxBytes: MAX_BYTES_DEFAULT, keep: KEEP_DEFAULT },
  };
}
