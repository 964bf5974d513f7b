/**
 * Measures Sluice beside its peers, on this machine, in one run: see README.md.
 *
 * Usage: npm run bench -- [--only NAME,…] [--rounds N] [--quick] [--json FILE] [--write]
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { coldLimited, coldUnlimited } from "./cold.ts";
import { enforceCold } from "./enforce-cold.ts";
import { enforceBurst, enforceHerd, enforceMemory } from "./enforce-load.ts";
import { enforceWarm } from "./enforce-warm.ts";
import { herds } from "./herd.ts";
import { Lab } from "./lab.ts";
import { memory } from "./memory.ts";
import { PEERS } from "./peers.ts";
import { placement } from "./placement.ts";
import { stopAll } from "./process.ts";
import type { Column, Row } from "./report.ts";
import { toTable, writeBetweenMarkers } from "./report.ts";
import { start } from "./start.ts";
import { warmBlob, warmManifest } from "./warm.ts";

interface Scenario {
  /** Chosen by this, or by the part of it before the dash. */
  readonly name: string;
  readonly run: (lab: Lab) => Promise<readonly Row[]>;
}

const SCENARIOS: readonly Scenario[] = [
  { name: "warm-blob", run: warmBlob },
  { name: "warm-manifest", run: warmManifest },
  { name: "cold-limited", run: coldLimited },
  { name: "cold-unlimited", run: coldUnlimited },
  { name: "herd", run: herds },
  { name: "memory", run: memory },
  { name: "start", run: start },
  { name: "placement", run: placement },
  { name: "enforce-warm", run: enforceWarm },
  { name: "enforce-cold", run: enforceCold },
  { name: "enforce-burst", run: enforceBurst },
  { name: "enforce-herd", run: enforceHerd },
  { name: "enforce-memory", run: enforceMemory },
];

function parseOptions(): {
  only: readonly Scenario[];
  rounds: number;
  quick: boolean;
  json: string | undefined;
  write: boolean;
} {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      write: { type: "boolean", default: false },
    },
  });
  const names = values.only?.split(",");
  const isChosen = ({ name }: Scenario): boolean =>
    names?.some((wanted) => name === wanted || name.startsWith(`${wanted}-`)) ?? true;
  const only = SCENARIOS.filter(isChosen);
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
  if (only.length === 0 || !Number.isInteger(rounds) || rounds < 1) {
    const known = SCENARIOS.map(({ name }) => name).join(", ");
    throw new Error(`--only takes some of ${known}; --rounds takes a whole number from 1 on`);
  }
  return { only, rounds, quick: values.quick, json: values.json, write: values.write };
}

async function describeMachine(): Promise<string> {
  const distribution = await readFile("/etc/os-release", "utf8").catch(() => "");
  const system = /^PRETTY_NAME="(.*)"$/m.exec(distribution)?.[1] ?? process.platform;
  const memoryGib = Math.round(totalmem() / 2 ** 30);
  const model = cpus()[0]?.model ?? "unknown processor";
  return `${cpus().length} × ${model}, ${memoryGib} GiB, ${system}, kernel ${release()}, Node ${process.version}`;
}

async function main(folder: string): Promise<void> {
  const options = parseOptions();
  const say = (text: string): void => console.error(text);
  const missing = new Set<Column>();
  const versions: string[] = [];
  const peers = [];
  for (const peer of PEERS) {
    const version = await peer.version();
    versions.push(`${peer.name}: ${version ?? "missing (not installed)"}`);
    if (version === undefined) {
      missing.add(peer.name);
    } else {
      peers.push(peer);
    }
  }
  const about = [
    `${new Date().toISOString().slice(0, 10)}, ${options.rounds} round${options.rounds === 1 ? "" : "s"} interleaved${options.quick ? ", quick" : ""}; median (smallest–largest).`,
    `Machine: ${await describeMachine()}; load of others when the run began: ${loadavg()[0]?.toFixed(1)}.`,
    `Versions: ${versions.join(", ")}.`,
  ].join("\n");
  say(about);

  await using lab = await Lab.open({
    peers,
    rounds: options.rounds,
    quick: options.quick,
    folder,
    say,
  });
  const rows: Row[] = [];
  for (const scenario of options.only) {
    say(scenario.name);
    rows.push(...(await scenario.run(lab)));
  }
  const text = `${about}\n\n${toTable(rows, missing)}`;
  console.log(text);
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify({ about, rows }, undefined, 2)}\n`);
  }
  if (options.write) {
    await writeBetweenMarkers(join(import.meta.dirname, "README.md"), text);
  }
}

const folder = await mkdtemp(join(tmpdir(), "sluice-bench-"));
let interrupted: number | undefined;

async function leave(): Promise<void> {
  await stopAll();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  process.once(signal, () => {
    interrupted = code;
    const exit = (): never => process.exit(code);
    leave().then(exit, exit);
  });
}

try {
  await main(folder);
} catch (error) {
  // Once interrupted, everything that is under way fails.
  if (interrupted === undefined) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
} finally {
  await leave();
}
