import { stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { clockMs } from "./download.ts";
import type { Contestant, Lab } from "./lab.ts";
import { MIB, mebibytes, totalSeconds } from "./lab.ts";
import type { Column, Row } from "./report.ts";
import { Samples, toRow } from "./report.ts";

const LIMITED_BYTES = 256 * MIB;
const LIMIT = 100 * MIB;
const UNLIMITED_BYTES = 512 * MIB;
/** Beside the blob itself, memory for sockets and buffers. */
const PRIME = 1.5;
const STORED_TIMEOUT_MS = 60_000;

/** A blob that nobody holds, over a link of 100 MiB/s: what the way through a proxy costs. */
export async function coldLimited(lab: Lab): Promise<readonly Row[]> {
  const totals = new Samples();
  const firstBytes = new Samples();
  const failed = new Map<Column, string>();
  const sizeBytes = lab.scaled(LIMITED_BYTES);
  await lab.withPeers(failed, async (contestants) => {
    await lab.shape({ bytesPerSecond: LIMIT, limit: "total" });
    await lab.interleave(contestants, failed, async ({ name, port }) => {
      const digest = await lab.newBlob(sizeBytes);
      await lab.prime(sizeBytes * PRIME);
      const downloads = await lab.download(port, digest);
      totals.add(name, totalSeconds(downloads));
      for (const { startMs, firstByteMs } of downloads) {
        firstBytes.add(name, firstByteMs - startMs);
      }
    });
  });
  const title = `cold blob, ${mebibytes(sizeBytes)} MiB at ${mebibytes(LIMIT)} MiB/s`;
  const total = totals.ratio("sluice", "direct");
  const later = firstBytes.difference("sluice", "direct");
  return [
    toRow({
      scenario: `${title}: total`,
      target: "≤ 1.03 × direct",
      samples: totals,
      unit: "s",
      digits: 3,
      checks: [{ what: "direct", value: total, digits: 3, limit: 1.03, is: "at most" }],
      remarks: failed,
    }),
    toRow({
      scenario: `${title}: first byte`,
      target: "≤ direct + 10 ms",
      samples: firstBytes,
      unit: "ms",
      digits: 1,
      checks: [{ what: "direct + ms", value: later, digits: 1, limit: 10, is: "at most" }],
      remarks: failed,
    }),
  ];
}

/** When the store has all of it under its final name, on the clock of the clients. */
async function untilStored(contestant: Contestant, digest: string, bytes: number): Promise<number> {
  const file = contestant.peer?.storedFile(digest);
  const deadlineMs = clockMs() + STORED_TIMEOUT_MS;
  while (file !== undefined && clockMs() < deadlineMs) {
    const found = await stat(file).catch(() => undefined);
    // nginx keeps the headers in front of the body.
    if (found !== undefined && found.size >= bytes) {
      return clockMs();
    }
    await sleep(2);
  }
  throw new Error("not stored in time");
}

/** The same at full speed: what checking and storing costs. */
export async function coldUnlimited(lab: Lab): Promise<readonly Row[]> {
  const received = new Samples();
  const stored = new Samples();
  const failed = new Map<Column, string>();
  const upstream = new Map<Column, string>();
  const sizeBytes = lab.scaled(UNLIMITED_BYTES);
  await lab.withPeers(failed, async (contestants) => {
    await lab.interleave(contestants, failed, async (contestant) => {
      const { name, port, peer } = contestant;
      const digest = await lab.newBlob(sizeBytes);
      await lab.prime(sizeBytes * PRIME);
      const storing = peer && untilStored(contestant, digest, sizeBytes);
      const [download] = await lab.download(port, digest);
      const startMs = download?.startMs ?? Number.NaN;
      received.add(name, ((download?.endMs ?? Number.NaN) - startMs) / 1000);
      if (storing === undefined) {
        return;
      }
      stored.add(name, ((await storing) - startMs) / 1000);
      const { gets, bytes } = await lab.countOf(digest);
      upstream.set(name, `${gets} GET, ${mebibytes(bytes).toFixed(0)} MiB upstream`);
      await lab.download(port, digest, { verify: true });
      if ((await lab.countOf(digest)).gets !== gets) {
        throw new Error("a second read went upstream again");
      }
    });
  });
  const title = `cold blob, ${mebibytes(sizeBytes)} MiB, unlimited`;
  const check = { what: "speed-up over 3", digits: 2, limit: 1.1, is: "at least" } as const;
  return [
    toRow({
      scenario: `${title}: the client has it`,
      target: "for comparison",
      samples: received,
      unit: "s",
      digits: 3,
      remarks: new Map([...upstream, ...failed]),
    }),
    toRow({
      scenario: `${title}: verified (not by nginx) and stored`,
      target: "≥ 1.1 × distribution 3",
      samples: stored,
      unit: "s",
      digits: 3,
      checks: [{ ...check, value: stored.ratio("distribution 3", "sluice") }],
      remarks: failed,
    }),
  ];
}
