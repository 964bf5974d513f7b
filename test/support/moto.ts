import type { Test } from "tap";
import { Daemon } from "./processes.ts";

/** AWS's APIs on a free loopback port, as moto plays them: its url. Needs `moto_server` on PATH. */
export async function startMoto(t: Test): Promise<string> {
  const daemon = new Daemon("moto_server", ["-H", "127.0.0.1", "-p", "0"]);
  t.teardown(() => daemon.stop());
  const [, url = ""] = await daemon.line(/Running on (http:\/\/127\.0\.0\.1:\d+)/);
  return url;
}

/** What a client of it needs instead of the machine's own role and region. */
export function motoEnvironment(url: string): Readonly<Record<string, string>> {
  return {
    AWS_ENDPOINT_URL: url,
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test-secret",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
    AWS_MAX_ATTEMPTS: "1",
  };
}
