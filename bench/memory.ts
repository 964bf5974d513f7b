import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Contestant, Lab } from "./lab.ts";
import { MIB, mebibytes } from "./lab.ts";
import type { Column, Row } from "./report.ts";
import { Samples, toRow } from "./report.ts";

const STALLED = 200;
const STALLED_BYTES = 128 * MIB;
const STALL_MS = 5000;
const LARGE_BYTES = 1024 * MIB;

/** Of a process and all that it started, in bytes; a high-water mark is the sum of those of each. */
export interface Memory {
  readonly rssBytes: number;
  readonly peakBytes: number;
}

export async function memoryOf(pid: number): Promise<Memory> {
  const read = (name: string): Promise<string> => readFile(`/proc/${pid}/${name}`, "utf8");
  const status = await read("status");
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
  let rssBytes = field("VmRSS");
  let peakBytes = field("VmHWM");
  const children = (await read(`task/${pid}/children`).catch(() => "")).trim();
  for (const child of children.split(" ").filter((text) => text !== "")) {
    const own = await memoryOf(Number(child));
    rssBytes += own.rssBytes;
    peakBytes += own.peakBytes;
  }
  return { rssBytes, peakBytes };
}

/** Each peer is a fresh process, once: its high-water mark cannot be set back. */
async function measure(
  lab: Lab,
  title: string,
  limitMebibytes: number,
  use: (port: number) => Promise<void>,
): Promise<Row> {
  const peaks = new Samples();
  const failed = new Map<Column, string>();
  const remarks = new Map<Column, string>();
  await lab.withPeers(failed, async (contestants) => {
    const peers = contestants.filter(({ peer }) => peer !== undefined);
    const one = async ({ name, port, peer }: Contestant): Promise<void> => {
      if (peer === undefined) {
        return;
      }
      const before = await memoryOf(peer.process.pid);
      await use(port);
      const after = await memoryOf(peer.process.pid);
      await lab.release();
      peaks.add(name, mebibytes(after.peakBytes));
      const [first, last] = [before.rssBytes, after.rssBytes].map((n) => mebibytes(n).toFixed(0));
      remarks.set(name, `${first} before, ${last} at the end`);
    };
    await lab.interleave(peers, failed, one, 1);
  });
  const value = peaks.spread("sluice")?.median;
  return toRow({
    scenario: `${title}: peak RSS`,
    target: `≤ ${limitMebibytes} MiB`,
    samples: peaks,
    unit: "MiB",
    digits: 0,
    checks: [{ what: "MiB", value, digits: 0, limit: limitMebibytes, is: "at most" }],
    remarks: new Map([...remarks, ...failed]),
  });
}

export async function memory(lab: Lab): Promise<readonly Row[]> {
  const stalledDigest = await lab.newBlob(STALLED_BYTES);
  const stalled = await measure(
    lab,
    `${STALLED} stalled readers of a warm ${mebibytes(STALLED_BYTES)} MiB blob`,
    300,
    async (port) => {
      await lab.download(port, stalledDigest);
      await lab.download(port, stalledDigest);
      const readers = await lab.stall(port, stalledDigest, STALLED);
      const refused = readers.find(({ error }) => error !== undefined);
      if (refused !== undefined) {
        throw new Error(`a stalled reader got: ${refused.error}`);
      }
      await sleep(STALL_MS);
    },
  );
  const largeBytes = lab.scaled(LARGE_BYTES);
  const largeDigest = await lab.newBlob(largeBytes);
  const large = await measure(
    lab,
    `${mebibytes(largeBytes)} MiB blob, cold, then warm`,
    150,
    async (port) => {
      await lab.download(port, largeDigest);
      await lab.download(port, largeDigest);
    },
  );
  return [stalled, large];
}
