/** A corner of the simulation beside the real thing: one Sluice, many clients, rates that are known. */
import type { Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { clockMs, download } from "./download.ts";
import type { Lab } from "./lab.ts";
import { MIB } from "./lab.ts";
import { blobPath, PEERS, startPeer } from "./peers.ts";
import { LAYOUTS } from "./placement-layouts.ts";
import { simulate } from "./placement-rollout.ts";
import type { World } from "./placement-world.ts";
import { WORLD } from "./placement-world.ts";
import type { Row } from "./report.ts";
import { Samples, toRow } from "./report.ts";
import { TokenBucket } from "./token-bucket.ts";

interface Corner {
  readonly about: string;
  readonly who: "direct" | "sluice";
  /** In all; bytes a second. */
  readonly upstreamRate: number;
  readonly sluiceRate: number;
}

const CLIENTS = 20;
const LAYER_BYTES = [0.25, 1, 4, 3, 1.25, 0.5].map((mebibytes) => mebibytes * MIB);
/** Real ÷ simulated: beyond that the model says something else than the machine. */
const RATIO_MAX = 1.15;
const RATIO_MIN = 0.85;
const DEADLINE_MS = 60_000;
const PLENTY = 1e12;

const CORNERS: readonly Corner[] = [
  {
    about: "the upstream is the limit, without a cache",
    who: "direct",
    upstreamRate: 100 * MIB,
    sluiceRate: PLENTY,
  },
  {
    about: "the fill is the limit",
    who: "sluice",
    upstreamRate: 10 * MIB,
    sluiceRate: 300 * MIB,
  },
  {
    about: "the egress of Sluice is the limit",
    who: "sluice",
    upstreamRate: 100 * MIB,
    sluiceRate: 100 * MIB,
  },
];

/** The same as the world of the simulation, on one machine. */
function toWorld({ upstreamRate, sluiceRate }: Corner): World {
  const rates = {
    node: PLENTY,
    sluiceOut: sluiceRate,
    sluiceFill: WORLD.rates.sluiceFill,
    zone: PLENTY,
    region: PLENTY,
    originRegion: PLENTY,
    registry: upstreamRate,
    cdn: PLENTY,
    upstreamStream: PLENTY,
    unpack: PLENTY,
  };
  const times = {
    zoneRtt: 0.0001,
    regionRtt: 0.0001,
    cdnRtt: 0.0001,
    interRegionRttMin: 0.0001,
    interRegionRttMax: 0.0001,
    upstreamFirstByte: 0.001,
    sluiceFirstByte: 0.003,
    start: 0,
    clusterStartSpread: 0,
  };
  const one = { regions: 1, zonesPerRegion: 1, clustersPerRegion: 1, replicas: 1 };
  return {
    ...WORLD,
    ...one,
    nodesPerRegion: CLIENTS,
    metadataBytes: [],
    layerBytes: LAYER_BYTES,
    maxUnavailable: 1,
    rates,
    times,
    requests: { perSecond: PLENTY, burst: PLENTY },
  };
}

/** Stands for the network card of a Sluice: all that goes to the clients goes through one bucket. */
function relay(port: number, bytesPerSecond: number): Server {
  const bucket = new TokenBucket(bytesPerSecond);
  async function* paced(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length; ) {
        const granted = await bucket.take(chunk.length - at);
        yield chunk.subarray(at, at + granted);
        at += granted;
      }
    }
  }
  return createServer((client: Socket) => {
    const target = connect({ port, host: "127.0.0.1", noDelay: true });
    // Clients hang up as soon as they have all: nothing is lost with an error here.
    pipeline(client, target).catch(() => target.destroy());
    pipeline(target, paced, client).catch(() => client.destroy());
  });
}

async function listen(server: Server): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** One client: some layers at a time, in their order, as containerd does. */
async function pull(port: number, digests: readonly string[]): Promise<number> {
  const waiting = [...digests];
  const work = async (): Promise<void> => {
    for (let digest = waiting.shift(); digest !== undefined; digest = waiting.shift()) {
      const { error } = await download({ port, path: blobPath(digest) }, false, DEADLINE_MS);
      if (error !== undefined) {
        throw new Error(`a layer did not come: ${error}`);
      }
    }
  };
  await Promise.all(Array.from({ length: WORLD.layersAtOnce }, work));
  return clockMs();
}

async function measure(lab: Lab, corner: Corner, port: number): Promise<number> {
  const digests = await Promise.all(LAYER_BYTES.map((bytes) => lab.newBlob(bytes)));
  await lab.settle();
  await lab.shape({ bytesPerSecond: corner.upstreamRate, limit: "total" });
  const server = corner.who === "sluice" ? relay(port, corner.sluiceRate) : undefined;
  const clientPort = server === undefined ? port : await listen(server);
  const startMs = clockMs();
  const ends = await Promise.all(Array.from({ length: CLIENTS }, () => pull(clientPort, digests)));
  server?.close();
  return (Math.max(...ends) - startMs) / 1000;
}

function simulated(corner: Corner): number {
  const name = corner.who === "direct" ? "no cache" : "one a cluster";
  const layout = LAYOUTS.find((one) => one.name === name);
  return layout === undefined ? Number.NaN : simulate(toWorld(corner), layout).lastSeconds;
}

/** @throws Error when Sluice does not start, or a layer does not come */
export async function checkPlacement(lab: Lab): Promise<readonly Row[]> {
  const peer = PEERS.find(({ name }) => name === "sluice");
  if (peer === undefined) {
    return [];
  }
  const started = await startPeer(peer, join(lab.options.folder, "placement"), lab.originUrl);
  await lab.shape({});
  await lab.download(started.port, await lab.newBlob(8 * MIB), { verify: true });
  const rows: Row[] = [];
  for (const corner of CORNERS) {
    const samples = new Samples();
    const port = corner.who === "direct" ? lab.originPort : started.port;
    for (let round = 0; round < lab.options.rounds; round += 1) {
      samples.add(corner.who, await measure(lab, corner, port));
    }
    const model = simulated(corner);
    const value = (samples.spread(corner.who)?.median ?? Number.NaN) / model;
    const ratio = { what: "real ÷ simulated", value, digits: 2 };
    rows.push(
      toRow({
        scenario: `placement, ${CLIENTS} clients pull 10 MiB, ${corner.about}: the last one`,
        target: "as simulated, ± 15 %",
        samples,
        unit: "s",
        digits: 2,
        checks: [
          { ...ratio, limit: RATIO_MAX, is: "at most" },
          { ...ratio, limit: RATIO_MIN, is: "at least" },
        ],
        remarks: new Map([[corner.who, `${model.toFixed(2)} s simulated`]]),
      }),
    );
  }
  await lab.shape({});
  await started.process.stop();
  return rows;
}
