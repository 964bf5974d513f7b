import { randomBytes } from "node:crypto";
import { digestFrom, hasher } from "../../storage/digest.ts";
import { openS3 } from "../../storage/s3-bucket.ts";

// A process that stores many blobs at once, and then says what it has stored and how much memory
// that took. Arguments: endpoint, spool folder, number of blobs, MiB of each.

const MIB = 1_048_576;
const [endpoint = "", spoolFolder = "", count = "1", sizeMiB = "1"] = process.argv.slice(2);
const baseMiB = Math.round(process.memoryUsage.rss() / MIB);
const s3 = openS3({
  bucket: "blobs",
  prefix: "many/",
  endpoint,
  forcePathStyle: true,
  spoolFolder,
  events: { evicted: () => undefined, corruption: () => undefined, failed: () => undefined },
});

async function store(): Promise<string> {
  const block = randomBytes(MIB);
  const hash = hasher("sha256");
  const blocks = Number(sizeMiB);
  const fill = (at: number): Buffer => {
    block.writeUInt32LE(at);
    return block;
  };
  for (let at = 0; at < blocks; at++) {
    hash.update(fill(at));
  }
  const digest = digestFrom(hash, "sha256");
  await using writer = await s3.blobs.ingest(digest, blocks * MIB);
  for (let at = 0; at < blocks; at++) {
    await writer.write(fill(at), at * MIB);
  }
  await writer.commit(blocks * MIB);
  return digest;
}

const digests = await Promise.all(Array.from({ length: Number(count) }, store));
await s3[Symbol.asyncDispose]();
const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
process.stdout.write(`${JSON.stringify({ digests, baseMiB, peakMiB })}\n`);
