import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import type { FakeUpstream } from "./fake-upstream.ts";
import { startFakeUpstream } from "./fake-upstream.ts";
import { key } from "./policy-rig.ts";
import type { AddedImage, Sign } from "./signed-images.ts";
import { addSignedImage } from "./signed-images.ts";
import { SluiceProcess } from "./sluice-process.ts";

export const REPOSITORY = "prod/app";

/** A line of the audit file. */
export type AuditLine = Readonly<Record<string, unknown>>;

/** A registry, and a folder with what a Sluice in front of it needs: more than one after another. */
export interface EnforcedFolder {
  readonly upstream: FakeUpstream;
  readonly folder: string;
  readonly configFile: string;
  start(): Promise<SluiceProcess>;
  image(tag: string, ...signatures: readonly Sign[]): Promise<AddedImage>;
  index(tag: string, ...signatures: readonly Sign[]): Promise<AddedImage>;
  /** All whole lines so far. */
  audit(): readonly AuditLine[];
}

/** Images of `team.example/prod` must be signed by `cosign.pub`, those of `dev` should be. */
export const POLICY = `
policy:
  unmatched: deny
  rules:
    - name: production
      match: ["team.example/prod/**"]
      mode: enforce
      signatures:
        any:
          - key: { file: cosign.pub, log: ignore }
    - name: development
      match: ["team.example/dev/**"]
      mode: warn
      signatures:
        any:
          - key: { file: cosign.pub, log: ignore }
`;

export async function enforcedFolder(t: Test): Promise<EnforcedFolder> {
  const folder = t.testdir();
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const repository = REPOSITORY;
  const log = join(folder, "audit.jsonl");
  return {
    upstream,
    folder,
    configFile: join(folder, "sluice.yaml"),
    start: async () => {
      const config = configOf(upstream, folder);
      const files = { "cosign.pub": key.publicKeyPem };
      const sluice = await SluiceProcess.start({ config, folder, files });
      t.teardown(() => sluice[Symbol.asyncDispose]());
      return sluice;
    },
    image: (tag, ...signatures) => addSignedImage(upstream, { repository, tag, signatures }),
    index: (tag, ...signatures) => {
      const platforms = ["linux/amd64", "linux/arm64"];
      return addSignedImage(upstream, { repository, tag, platforms, signatures });
    },
    audit: () => (existsSync(log) ? linesOf(readFileSync(log, "utf8")) : []),
  };
}

/** The whole file: what a user would write, with this upstream. */
export function configOf(upstream: FakeUpstream, folder: string, policy: string = POLICY): string {
  return `
storage: { disk: { path: "${join(folder, "data")}" } }
upstreams:
  team.example: { url: "${upstream.url}" }
${policy}
audit: { file: "${join(folder, "audit.jsonl")}" }
accessLog: { file: "${join(folder, "access.jsonl")}" }
`;
}

/** What follows the last line break is still being written. */
export function linesOf(text: string): readonly AuditLine[] {
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as AuditLine);
}

export function manifestUrl(
  sluice: SluiceProcess,
  reference: string,
  repository: string = REPOSITORY,
): string {
  return `${sluice.registry}/v2/team.example/${repository}/manifests/${reference}`;
}

/** Its body is taken, so that the exchange is over. */
export async function statusOf(url: string, init: RequestInit = {}): Promise<number> {
  const response = await fetch(url, init);
  await response.arrayBuffer();
  return response.status;
}

/** After a changed file: resolves once so many reloads have come to that. */
export async function reloaded(
  sluice: SluiceProcess,
  outcome: "applied" | "refused",
  times: number,
): Promise<void> {
  sluice.signal("SIGHUP");
  await reloadsBecome(sluice, outcome, times);
}

export async function reloadsBecome(
  sluice: SluiceProcess,
  outcome: "applied" | "refused",
  times: number,
): Promise<void> {
  while ((await sluice.metric("sluice_config_reloads_total", { outcome })) < times) {
    // until it was read
  }
}
