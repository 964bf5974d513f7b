import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";
import { Daemon } from "./processes.ts";

/** Of every server here; nothing else ever sees them. */
export const S3_KEYS: Readonly<Record<string, string>> = {
  AWS_ACCESS_KEY_ID: "sluice-test",
  AWS_SECRET_ACCESS_KEY: "sluice-test-secret",
  AWS_EC2_METADATA_DISABLED: "true",
  AWS_CONFIG_FILE: "/dev/null",
  AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
};

export interface Versitygw {
  readonly url: string;
  readonly port: number;
  readonly bucket: string;
  /** The file of an object: its bytes, as they lie on the server's disk. */
  file(key: string): string;
  stop(): Promise<void>;
}

/** A real S3 on a free loopback port, with one bucket. Needs `versitygw` on PATH. */
export async function startVersitygw(t: Test): Promise<Versitygw> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-s3-"));
  await mkdir(join(folder, "data", "blobs"), { recursive: true });
  await mkdir(join(folder, "meta"));
  const port = await freePort();
  const keys = ["--access", "sluice-test", "--secret", "sluice-test-secret"];
  const where = ["--sidecar", join(folder, "meta"), join(folder, "data")];
  const address = ["--port", `127.0.0.1:${port}`, "--keep-alive"];
  const daemon = new Daemon("versitygw", [...address, ...keys, "posix", ...where]);
  t.teardown(async () => {
    await daemon.stop("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}`;
  await untilItAnswers(url, daemon);
  return {
    url,
    port,
    bucket: "blobs",
    file: (key) => join(folder, "data", "blobs", key),
    stop: async () => void (await daemon.stop("SIGKILL")),
  };
}

async function untilItAnswers(url: string, daemon: Daemon): Promise<void> {
  while (daemon.isRunning) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer !== undefined) {
      await answer.arrayBuffer();
      return;
    }
    await sleep(20);
  }
  throw new Error(`versitygw ended:\n${daemon.tail()}`);
}

/** It does not say which port it got, so one is chosen for it. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") {
    throw new Error("a listening server has a port");
  }
  return address.port;
}
