import { createHash } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Lab } from "./lab.ts";
import { PEERS, startPeer } from "./peers.ts";
import type { Row } from "./report.ts";
import { Samples, toRow } from "./report.ts";

const BLOBS = 100_000;
const LIMIT_SECONDS = 2;

/**
 * From the start of the process until it is ready, with many small blobs on disk: once with the
 * index lost, so that all of them are found anew, then with it.
 */
export async function start(lab: Lab): Promise<readonly Row[]> {
  const peer = PEERS.find(({ name }) => name === "sluice");
  if (peer === undefined) {
    return [];
  }
  const work = join(lab.options.folder, "start");
  const data = join(work, "sluice", "data", "v1");
  await fillStore(join(data, "blobs", "sha256"));
  const rows: Row[] = [];
  for (const index of ["lost", "kept"]) {
    const samples = new Samples();
    for (let round = 0; round < lab.options.rounds; round += 1) {
      if (index === "lost") {
        await Promise.all(
          ["", "-wal", "-shm"].map((end) =>
            rm(join(data, `metadata.sqlite${end}`), { force: true }),
          ),
        );
      }
      const startedAt = performance.now();
      const started = await startPeer(peer, work, `http://127.0.0.1:${lab.originPort}`);
      samples.add("sluice", (performance.now() - startedAt) / 1000);
      await started.process.stop();
    }
    const value = samples.spread("sluice")?.median;
    rows.push(
      toRow({
        scenario: `start with ${BLOBS.toLocaleString("en")} blobs, index ${index}: until ready`,
        target: `≤ ${LIMIT_SECONDS} s`,
        samples,
        unit: "s",
        digits: 2,
        checks: [{ what: "s", value, digits: 2, limit: LIMIT_SECONDS, is: "at most" }],
      }),
    );
  }
  return rows;
}

async function fillStore(folder: string): Promise<void> {
  for (let first = 0; first < 256; first += 1) {
    await mkdir(join(folder, first.toString(16).padStart(2, "0")), { recursive: true });
  }
  const at = Array.from({ length: BLOBS }, (_, number) => number);
  const writeSome = async (): Promise<void> => {
    for (let number = at.pop(); number !== undefined; number = at.pop()) {
      const bytes = `blob ${number}`;
      const hex = createHash("sha256").update(bytes).digest("hex");
      await writeFile(join(folder, hex.slice(0, 2), hex), bytes);
    }
  };
  await Promise.all(Array.from({ length: 16 }, writeSome));
}
