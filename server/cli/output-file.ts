import { rmSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import type { WriteBytes } from "../air-gap/tar-writer.ts";

/** Where a file is written. Disposing of it before `commit` leaves nothing behind. */
export interface Output extends AsyncDisposable {
  readonly write: WriteBytes;
  /** The file gets its name once all of it is on the disk. */
  commit(): Promise<void>;
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** `-` is the standard output, which cannot be taken back. */
export async function openOutput(name: string): Promise<Output> {
  return name === "-" ? openStandardOutput() : await openFile(name);
}

async function openFile(name: string): Promise<Output> {
  const partial = `${name}.partial`;
  const file = await open(partial, "w");
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
