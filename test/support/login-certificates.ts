import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ClientFiles } from "./login-clients.ts";
import { run } from "./processes.ts";

const SERVER_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost";
const FOR_CLIENTS = "extendedKeyUsage=clientAuth";

/** An authority made for the run, by openssl, in a folder of its own. */
export class LogInAuthority {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** @param folder - exists, and is empty. */
  static async make(folder: string): Promise<LogInAuthority> {
    const args = ["-x509", "-days", "2", "-subj", "/CN=Sluice log-in tests", "-out", "ca.crt"];
    await openssl(folder, ["req", ...newKey("ca.key"), ...args]);
    return new LogInAuthority(folder);
  }

  get pem(): Promise<string> {
    return readFile(join(this.#folder, "ca.crt"), "utf8");
  }

  /** For 127.0.0.1. */
  async server(): Promise<{ readonly cert: string; readonly key: string }> {
    return await this.#sign("server", "/CN=sluice", SERVER_NAMES);
  }

  /** The files of a client in an empty folder: who it is, and whom it trusts. */
  async client(subject: string, folder: string): Promise<ClientFiles> {
    const pair = await this.#sign("client", subject, FOR_CLIENTS);
    await writeFile(join(folder, "client.cert"), pair.cert);
    await writeFile(join(folder, "client.key"), pair.key, { mode: 0o600 });
    return { ...(await this.nobody(folder)), pair };
  }

  /** The files of a client that has no certificate. */
  async nobody(folder: string): Promise<ClientFiles> {
    const ca = await this.pem;
    await writeFile(join(folder, "ca.crt"), ca);
    return { folder, ca };
  }

  async #sign(
    name: string,
    subject: string,
    extension: string,
  ): Promise<{ readonly cert: string; readonly key: string }> {
    const folder = this.#folder;
    await writeFile(join(folder, `${name}.ext`), `${extension}\n`);
    const request = ["-subj", subject, "-out", `${name}.csr`];
    await openssl(folder, ["req", ...newKey(`${name}.key`), ...request]);
    const by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    const what = ["-in", `${name}.csr`, "-out", `${name}.crt`, "-extfile", `${name}.ext`];
    await openssl(folder, ["x509", "-req", "-days", "2", ...by, ...what]);
    return {
      cert: await readFile(join(folder, `${name}.crt`), "utf8"),
      key: await readFile(join(folder, `${name}.key`), "utf8"),
    };
  }
}

/** Options of `sluice hosts`: whom a node trusts, and who it is. */
export function hostOptionsOf({ folder, pair }: ClientFiles): readonly string[] {
  const file = (name: string): string => join(folder, name);
  const who = ["--client-cert", file("client.cert"), "--client-key", file("client.key")];
  return ["--ca", file("ca.crt"), ...(pair === undefined ? [] : who)];
}

function newKey(file: string): readonly string[] {
  return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file];
}

async function openssl(folder: string, args: readonly string[]): Promise<void> {
  const { code, output } = await run("openssl", args, { cwd: folder });
  if (code !== 0) {
    throw new Error(`openssl ${args[0]}: ${output}`);
  }
}
