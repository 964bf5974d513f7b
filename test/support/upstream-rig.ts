import assert from "node:assert/strict";
import type { Test } from "tap";
import { Metrics } from "../../server/metrics.ts";
import type { CredentialSettings, UpstreamSettings } from "../../server/settings.ts";
import type { BlobBody, Upstream } from "../../server/upstream/upstream.ts";
import type { UpstreamSetOptions } from "../../server/upstream/upstream-set.ts";
import { UpstreamSet } from "../../server/upstream/upstream-set.ts";
import type { FakeUpstream, FakeUpstreamOptions } from "./fake-upstream.ts";
import { startFakeUpstream } from "./fake-upstream.ts";

export interface RigOptions extends Partial<UpstreamSettings> {
  readonly credentials?: CredentialSettings;
  readonly limits?: UpstreamSetOptions["limits"];
  readonly surroundings?: UpstreamSetOptions["surroundings"];
  readonly lookup?: UpstreamSetOptions["lookup"];
}

export interface Rig {
  readonly set: UpstreamSet;
  readonly upstream: Upstream;
  readonly metrics: Metrics;
  /** How long each wait before a retry was. Nothing really waits. */
  readonly delays: readonly number[];
}

/** One configured upstream, `team.example`, that talks to `urls`. Ended with the test. */
export function openUpstream(t: Test, urls: readonly string[], options: RigOptions = {}): Rig {
  const { credentials = {}, limits = {}, surroundings, lookup, ...settings } = options;
  const metrics = new Metrics();
  const delays: number[] = [];
  const delay = (ms: number): Promise<void> => {
    delays.push(ms);
    return Promise.resolve();
  };
  const upstream: UpstreamSettings = {
    name: "team.example",
    aliases: [],
    urls,
    insecure: true,
    tokenHosts: [],
    redirectHosts: [],
    tagFreshSeconds: 30,
    access: "shared",
    serveStaleSeconds: 3600,
    ...settings,
  };
  const set = new UpstreamSet([upstream], {
    defaultUpstream: upstream.name,
    credentials,
    metrics,
    version: "0.0.0",
    limits,
    surroundings: { delay, ...surroundings },
    ...(lookup === undefined ? {} : { lookup }),
  });
  t.teardown(() => set.destroy());
  const [opened] = set.all;
  assert(opened !== undefined);
  return { set, upstream: opened, metrics, delays };
}

/** A fake registry that is closed with the test. */
export async function openFake(t: Test, options?: FakeUpstreamOptions): Promise<FakeUpstream> {
  const fake = await startFakeUpstream(options);
  t.teardown(() => fake.close());
  return fake;
}

/** Reads a body to its end. The copy is the sink's own: chunks are not. */
export async function bytesOf(body: BlobBody): Promise<Buffer> {
  const chunks: Buffer[] = [];
  await body.pipe({
    start: () => undefined,
    write: (chunk) => {
      chunks.push(Buffer.from(chunk));
      return true;
    },
  });
  return Buffer.concat(chunks);
}

/** What a promise was rejected with; undefined when it was not. */
export async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Reproducible bytes that do not repeat within a buffer's length. */
export function bytesOfSize(size: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < size; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state & 0xff;
  }
  return bytes;
}

/** The value of a metric whose line starts like this; 0 when there is none. */
export async function metricOf(metrics: Metrics, start: string): Promise<number> {
  const text = await metrics.expose();
  const line = text.split("\n").find((one) => one.startsWith(start));
  return Number(line?.split(" ").at(-1) ?? 0);
}
