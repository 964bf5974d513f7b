import type { Lab } from "./lab.ts";
import { MIB, mebibytes, totalSeconds } from "./lab.ts";
import { manifestPath } from "./peers.ts";
import type { Column, Row } from "./report.ts";
import { Samples, toRow } from "./report.ts";

const BLOB_BYTES = 512 * MIB;
const CLIENTS = 4;
const CONNECTIONS = 32;
const REQUESTS_MS = 4000;

/** A blob that everybody holds, read by four at once. The first reads, that Sluice hashes, are not timed. */
export async function warmBlob(lab: Lab): Promise<readonly Row[]> {
  const samples = new Samples();
  const failed = new Map<Column, string>();
  const sizeBytes = lab.scaled(BLOB_BYTES);
  const digest = await lab.newBlob(sizeBytes);
  await lab.withPeers(failed, async (contestants) => {
    await lab.interleave(contestants, failed, async ({ name, port, peer }, round) => {
      if (round === 0 && peer !== undefined) {
        await lab.download(port, digest);
        await lab.download(port, digest, { verify: true });
        await lab.download(port, digest);
        await lab.settle();
      }
      const downloads = await lab.download(port, digest, { clients: CLIENTS });
      samples.add(name, mebibytes(sizeBytes * CLIENTS) / totalSeconds(downloads));
    });
  });
  const over = (column: Column): number | undefined => samples.ratio("sluice", column);
  const atLeast = { digits: 2, is: "at least" } as const;
  const row = toRow({
    scenario: `warm blob, ${mebibytes(sizeBytes)} MiB, ${CLIENTS} at once`,
    target: "≥ 0.9 × nginx, ≥ 1.0 × each registry",
    samples,
    unit: "MiB/s",
    digits: 0,
    checks: [
      { what: "nginx", value: over("nginx"), limit: 0.9, ...atLeast },
      { what: "2.8", value: over("docker-registry 2.8"), limit: 1, ...atLeast },
      { what: "3", value: over("distribution 3"), limit: 1, ...atLeast },
    ],
    remarks: failed,
  });
  return [row];
}

/** A manifest by its digest over keep-alive connections, as fast as one process can ask. */
export async function warmManifest(lab: Lab): Promise<readonly Row[]> {
  const samples = new Samples();
  const failed = new Map<Column, string>();
  const digest = await lab.newManifest();
  await lab.withPeers(failed, async (contestants) => {
    await lab.interleave(contestants, failed, async ({ name, port }, round) => {
      const target = { port, path: manifestPath(digest) };
      if (round === 0) {
        await lab.ask(target, CONNECTIONS, lab.scaled(REQUESTS_MS));
      }
      const outcome = await lab.ask(target, CONNECTIONS, lab.scaled(REQUESTS_MS));
      if (outcome.failures > 0) {
        throw new Error(`${outcome.failures} of ${outcome.requests} requests failed`);
      }
      samples.add(name, outcome.requests / (outcome.elapsedMs / 1000));
    });
  });
  const rate = (column: Column): number => samples.spread(column)?.median ?? 0;
  const best =
    rate("docker-registry 2.8") > rate("distribution 3") ? "docker-registry 2.8" : "distribution 3";
  const value = samples.ratio("sluice", best);
  const row = toRow({
    scenario: `warm manifest by digest, ${CONNECTIONS} connections`,
    target: "≥ 3 × the best registry",
    samples,
    unit: "req/s",
    digits: 0,
    checks: [{ what: "best registry", value, digits: 1, limit: 3, is: "at least" }],
    remarks: failed,
  });
  return [row];
}
