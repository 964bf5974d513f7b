import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, open as openFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Download } from "./download.ts";
import type { Job, Outcome } from "./load.ts";
import type { Count, Shape } from "./origin.ts";
import type { Paced, PaceOptions } from "./pace.ts";
import type { Peer, Started } from "./peers.ts";
import { blobPath, startPeer } from "./peers.ts";
import type { Running } from "./process.ts";
import { askPart, mustGoOn, outputOf, startPart } from "./process.ts";
import type { Column } from "./report.ts";
import type { Requests } from "./requests.ts";
import type { Target } from "./wire.ts";

/** Who is measured: a peer, or the upstream itself. */
export interface Contestant {
  readonly name: Column;
  readonly port: number;
  /** Undefined for the upstream itself. */
  readonly peer: Started | undefined;
}

export interface LabOptions {
  readonly peers: readonly Peer[];
  readonly rounds: number;
  readonly quick: boolean;
  /** Where all that the servers store goes. */
  readonly folder: string;
  readonly say: (text: string) => void;
}

export interface DownloadOptions {
  readonly clients?: number;
  readonly verify?: boolean;
  readonly deadlineMs?: number;
}

const MIB = 1_048_576;
const DEADLINE_MS = 300_000;
/** Two processes of clients: one alone would be the limit of a server that has both cores. */
const LOAD_PARTS = 2;
/** What every server is warmed up with before it is measured: its code, its connections. */
const WARM_UP_BYTES = 8 * MIB;

/** Runs the upstream and the clients, and starts the peers anew for each scenario. */
export class Lab {
  readonly options: LabOptions;
  readonly originPort: number;
  readonly #origin: Running;
  readonly #loads: readonly Running[];

  private constructor(options: LabOptions, origin: Running, port: number) {
    this.options = options;
    this.#origin = origin;
    this.originPort = port;
    this.#loads = Array.from({ length: LOAD_PARTS }, () =>
      startPart(join(import.meta.dirname, "load.ts")),
    );
  }

  static async open(options: LabOptions): Promise<Lab> {
    const origin = startPart(join(import.meta.dirname, "origin.ts"));
    const [port] = await once(origin.child, "message");
    return new Lab(options, origin, Number(port));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#origin, ...this.#loads].map((part) => part.stop()));
  }

  /** Sizes and times are cut to a quarter in a quick run: good for a look, not for a figure. */
  scaled(value: number): number {
    return this.options.quick ? value / 4 : value;
  }

  /**
   * Starts every peer in an empty folder, warms it up, lets `use` measure, ends all. A peer that
   * does not start is told to `failed` and left out.
   */
  async withPeers(
    failed: Map<Column, string>,
    use: (contestants: readonly Contestant[]) => Promise<void>,
  ): Promise<void> {
    const folder = await mkdtemp(join(this.options.folder, "run-"));
    const contestants: Contestant[] = [];
    await this.shape({});
    try {
      for (const peer of this.options.peers) {
        try {
          const started = await startPeer(peer, folder, this.originUrl);
          contestants.push({ name: peer.name, port: started.port, peer: started });
          await this.download(started.port, await this.newBlob(WARM_UP_BYTES), { verify: true });
        } catch (error) {
          this.#fail(failed, peer.name, error);
        }
      }
      await use([
        { name: "direct", port: this.originPort, peer: undefined },
        ...contestants.filter(({ name }) => !failed.has(name)),
      ]);
    } finally {
      await Promise.all(contestants.map(({ peer }) => peer?.process.stop()));
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Round by round, all in turn. Who fails is told to `failed`, and takes part no more. */
  async interleave(
    contestants: readonly Contestant[],
    failed: Map<Column, string>,
    measure: (contestant: Contestant, round: number) => Promise<void>,
    rounds: number = this.options.rounds,
  ): Promise<void> {
    for (let round = 0; round < rounds; round += 1) {
      for (const contestant of contestants.filter(({ name }) => !failed.has(name))) {
        await this.settle();
        try {
          await measure(contestant, round);
          this.options.say(`  round ${round + 1}: ${contestant.name}`);
        } catch (error) {
          const ended = contestant.peer?.process.ended;
          const tail =
            ended && `; ended with ${ended}: ${await contestant.peer?.process.logTail()}`;
          this.#fail(failed, contestant.name, `${String(error)}${tail ?? ""}`);
        }
      }
    }
  }

  #fail(failed: Map<Column, string>, name: Column, error: unknown): void {
    mustGoOn();
    const text = error instanceof Error ? error.message : String(error);
    failed.set(name, `failed: ${text.slice(0, 120)}`);
    this.options.say(`! ${name}: ${text}`);
  }

  /** What one wrote must not be written back to the disk while the next is measured. */
  async settle(): Promise<void> {
    await outputOf("sync", ["-f", this.options.folder]);
  }

  /**
   * Makes the machine have so much memory at hand for what is about to be stored. A virtual machine
   * gives back to its host what it does not use, and to get it again takes longer than all the rest:
   * 1.6 s for 512 MiB where the bench was written, for whoever happens to be the first to need it.
   */
  async prime(sizeBytes: number): Promise<void> {
    const file = join(this.options.folder, "prime");
    const block = Buffer.alloc(MIB, 1);
    await using handle = await openFile(file, "w");
    for (let at = 0; at < sizeBytes; at += block.length) {
      await handle.write(block);
    }
    // Never written back: nobody waits for the disk because of it.
    await rm(file);
  }

  get originUrl(): string {
    return `http://127.0.0.1:${this.originPort}`;
  }

  async #control(name: string, query: Record<string, number | string> = {}): Promise<unknown> {
    const url = new URL(`/-/${name}`, this.originUrl);
    for (const [key, value] of Object.entries(query)) {
      url.searchParams.set(key, String(value));
    }
    const answer = await fetch(url);
    assert.equal(answer.status, 200, `the upstream of the bench failed at ${name}`);
    return await answer.json();
  }

  async newBlob(sizeBytes: number): Promise<string> {
    return String(await this.#control("blob", { sizeBytes }));
  }

  async newManifest(): Promise<string> {
    return String(await this.#control("manifest"));
  }

  async shape(shape: Shape): Promise<void> {
    await this.#control("shape", { ...shape });
  }

  async countOf(digest: string): Promise<Count> {
    const counts = (await this.#control("counts")) as Record<string, Count>;
    return counts[digest] ?? { gets: 0, heads: 0, bytes: 0 };
  }

  async #perform(part: Running, job: Job): Promise<Outcome> {
    return (await askPart(part, job)) as Outcome;
  }

  /** Spreads the clients over the processes, half each. */
  async #performAll(clients: number, toJob: (clients: number) => Job): Promise<Download[]> {
    const share = Math.ceil(clients / this.#loads.length);
    const outcomes = await Promise.all(
      this.#loads.map((part, n) => {
        const own = Math.min(share, clients - n * share);
        return own > 0 ? this.#perform(part, toJob(own)) : { downloads: [] };
      }),
    );
    return outcomes.flatMap((outcome) => ("downloads" in outcome ? outcome.downloads : []));
  }

  /** @throws Error when a client did not get all, or when what it got is not the blob. */
  async download(
    port: number,
    digest: string,
    options: DownloadOptions = {},
  ): Promise<readonly Download[]> {
    const { clients = 1, verify = false, deadlineMs = DEADLINE_MS } = options;
    const target = { port, path: blobPath(digest) };
    const downloads = await this.#performAll(clients, (own) => {
      return { kind: "download", target, clients: own, verify, deadlineMs };
    });
    for (const { error, sha256 } of downloads) {
      if (error !== undefined) {
        throw new Error(error);
      }
      if (verify && `sha256:${sha256}` !== digest) {
        throw new Error(`wrong bytes: sha256:${sha256} for ${digest}`);
      }
    }
    return downloads;
  }

  async stall(port: number, digest: string, clients: number): Promise<readonly Download[]> {
    const target = { port, path: blobPath(digest) };
    return await this.#performAll(clients, (own) => ({ kind: "stall", target, clients: own }));
  }

  async release(): Promise<void> {
    await this.#performAll(this.#loads.length, () => ({ kind: "release" }));
  }

  /** Each once, all at the same time, in one process. What failed says so itself. */
  async fetchAll(targets: readonly Target[]): Promise<readonly Download[]> {
    const [part] = this.#loads;
    assert(part !== undefined);
    const outcome = await this.#perform(part, { kind: "fetch", targets, deadlineMs: DEADLINE_MS });
    assert("downloads" in outcome);
    return outcome.downloads;
  }

  /** On one connection at a steady pace, in the process that `fetchAll` does not use. */
  async pace(target: Target, options: PaceOptions): Promise<readonly Paced[]> {
    const part = this.#loads.at(-1);
    assert(part !== undefined);
    const outcome = await this.#perform(part, { kind: "pace", target, ...options });
    assert("paced" in outcome);
    return outcome.paced;
  }

  /** All in one process: see README.md. */
  async ask(target: Target, connections: number, durationMs: number): Promise<Requests> {
    const [part] = this.#loads;
    assert(part !== undefined);
    const outcome = await this.#perform(part, {
      kind: "requests",
      target,
      connections,
      durationMs,
    });
    assert("requests" in outcome);
    return outcome;
  }
}

/** From the first start to the last end, in seconds. */
export function totalSeconds(downloads: readonly Download[]): number {
  const starts = downloads.map(({ startMs }) => startMs);
  const ends = downloads.map(({ endMs }) => endMs);
  return (Math.max(...ends) - Math.min(...starts)) / 1000;
}

export function mebibytes(bytes: number): number {
  return bytes / MIB;
}

export { MIB };
