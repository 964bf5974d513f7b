import { rmSync } from "node:fs";
import { open, realpath, rename, rm, stat } from "node:fs/promises";
import { AirGapError } from "../air-gap/air-gap-error.ts";
import type { WriteBytes } from "../air-gap/tar-writer.ts";

/** Where a file is written. Disposing of it before `commit` leaves nothing behind. */
export interface Output extends AsyncDisposable {
  readonly write: WriteBytes;
  /** The file gets its name once all of it is on the disk. */
  commit(): Promise<void>;
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * `-` is the standard output, which cannot be taken back. Nor can a pipe or a device, which is
 * written as it is: a file in its place would be the end of /dev/null.
 *
 * @throws AirGapError for a folder.
 */
export async function openOutput(name: string): Promise<Output> {
  if (name === "-") {
    return openStandardOutput();
  }
  const there = await stat(name).catch(() => undefined);
  if (there?.isDirectory() === true) {
    throw new AirGapError(`${name} is a folder: name a file in it`);
  }
  // A link stays one, and what it names is replaced.
  const place = there === undefined ? name : await realpath(name);
  return there === undefined || there.isFile() ? await openFile(place) : await openStream(place);
}

async function openStream(name: string): Promise<Output> {
  const file = await open(name, "w");
  return {
    write: (bytes) => file.appendFile(bytes),
    commit: async () => undefined,
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function openFile(name: string): Promise<Output> {
  const partial = `${name}.partial`;
  // What an export that was killed has left goes; a link that stands there is not followed.
  await rm(partial, { force: true });
  const file = await open(partial, "wx");
  const onSignal = (): void => {
    rmSync(partial, { force: true });
    process.exit(1);
  };
  for (const signal of SIGNALS) {
    process.on(signal, onSignal);
  }
  let isDone = false;
  return {
    write: (bytes) => file.appendFile(bytes),
    commit: async () => {
      await file.sync();
      await rename(partial, name);
      isDone = true;
    },
    [Symbol.asyncDispose]: async () => {
      await file.close();
      for (const signal of SIGNALS) {
        process.off(signal, onSignal);
      }
      if (!isDone) {
        await rm(partial, { force: true });
      }
    },
  };
}

function openStandardOutput(): Output {
  const { stdout } = process;
  // Told to whoever waits for the write; without a listener it would end the process.
  const ignore = (): void => undefined;
  stdout.on("error", ignore);
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
    commit: async () => undefined,
    [Symbol.asyncDispose]: async () => {
      stdout.off("error", ignore);
    },
  };
}
