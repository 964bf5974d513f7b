import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import type { Ran } from "./processes.ts";
import { run } from "./processes.ts";

export interface LogIn {
  readonly user: string;
  readonly password: string;
}

/** A user's home: what clients keep of log-ins, and what they pull. */
export interface Home {
  readonly folder: string;
  /** `127.0.0.1:PORT`: the registry that they talk to. */
  readonly host: string;
  /** Undefined: plain http. */
  readonly certificates?: ClientFiles;
}

/** The authority of the registry, and who the client is, as PEM files of one folder. */
export interface ClientFiles {
  /** With `ca.crt`, `client.cert` and `client.key`: containers/image goes by these names. */
  readonly folder: string;
  readonly ca: string;
  /** Undefined: the client has no certificate. */
  readonly pair?: { readonly cert: string; readonly key: string };
}

/** A tool that keeps a log-in by a command of its own, and pulls with it. */
export interface LogInClient {
  readonly name: string;
  /** Whether its command tries the log-in at the registry before it is kept. */
  readonly triesLogIn: boolean;
  /** Whether it shows its log-in where a ping was answered without one, but speaks of them. */
  readonly sendsUnasked: boolean;
  readonly takesCertificates: boolean;
  /** Whether it shows why it was asked for a log-in that it does not have. */
  readonly showsReason: boolean;
  /** What it prints when a 401 meets a pull without a log-in, and one with a wrong one. */
  readonly unknown: { readonly none: RegExp; readonly wrong: RegExp };
  logIn(home: Home, logIn: LogIn): Promise<Ran>;
  /** @param name - `team.example/app/web:v1`. Pulled anew each time. */
  pull(home: Home, name: string): Promise<Ran>;
}

/** Ours, as it came. */
const TOLD = {
  none: /the request carries no log-in: use docker login, an imagePullSecret/,
  wrong: /the user name or the password is wrong/,
} as const;

export const CRANE: LogInClient = {
  name: "crane",
  triesLogIn: false,
  sendsUnasked: true,
  takesCertificates: false,
  showsReason: true,
  unknown: TOLD,
  logIn: (home, { user, password }) =>
    runAt(home, "crane", ["auth", "login", home.host, "-u", user, "-p", password]),
  pull: (home, name) =>
    pullInto(home, (folder) => ["crane", "pull", "--format=oci", `${home.host}/${name}`, folder]),
};

const skopeo: LogInClient = {
  name: "skopeo",
  triesLogIn: true,
  sendsUnasked: true,
  takesCertificates: true,
  showsReason: true,
  unknown: TOLD,
  logIn: (home, logIn) => runAt(home, "skopeo", containersLogIn(home, logIn)),
  pull: (home, name) =>
    pullInto(home, (folder) => [
      "skopeo",
      "--insecure-policy",
      "copy",
      ...(home.certificates === undefined
        ? ["--src-tls-verify=false"]
        : [`--src-cert-dir=${home.certificates.folder}`]),
      `--authfile=${authFileOf(home)}`,
      `docker://${home.host}/${name}`,
      `dir:${folder}`,
    ]),
};

const podman: LogInClient = {
  name: "podman",
  triesLogIn: true,
  sendsUnasked: true,
  takesCertificates: true,
  showsReason: true,
  unknown: TOLD,
  logIn: (home, logIn) =>
    runAt(home, "podman", [...podmanBase(home), ...containersLogIn(home, logIn)]),
  async pull(home, name) {
    const policy = join(home.folder, "policy.json");
    await writeFile(policy, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
    const image = `${home.host}/${name}`;
    const how = [`--signature-policy=${policy}`, `--authfile=${authFileOf(home)}`];
    const ran = await runAt(home, "podman", [
      ...podmanBase(home),
      "pull",
      "--quiet",
      ...how,
      ...containersTls(home),
      image,
    ]);
    await runAt(home, "podman", [...podmanBase(home), "rmi", "--ignore", image]);
    return ran;
  },
};

const regctl: LogInClient = {
  name: "regctl",
  triesLogIn: true,
  sendsUnasked: false,
  takesCertificates: true,
  showsReason: false,
  unknown: { none: /no credentials available: unauthorized/, wrong: /unauthorized/ },
  async logIn(home, { user, password }) {
    await setUpRegctl(home);
    const who = ["--user", user, "--pass", password];
    return await runAt(home, "regctl", ["registry", "login", home.host, ...who]);
  },
  async pull(home, name) {
    await setUpRegctl(home);
    const image = `${home.host}/${name}`;
    return await pullInto(home, (folder) => [
      "regctl",
      "image",
      "copy",
      image,
      `ocidir://${folder}`,
    ]);
  },
};

const oras: LogInClient = {
  name: "oras",
  triesLogIn: true,
  sendsUnasked: false,
  takesCertificates: true,
  showsReason: false,
  unknown: { none: /basic credential not found/, wrong: /the user name or the password is wrong/ },
  logIn: (home, { user, password }) =>
    runAt(home, "oras", [
      "login",
      ...orasTls(home, ""),
      `--registry-config=${authFileOf(home)}`,
      ...["-u", user, "-p", password, home.host],
    ]),
  pull: (home, name) =>
    pullInto(home, (folder) => [
      "oras",
      "cp",
      "--no-tty",
      ...orasTls(home, "from-"),
      `--from-registry-config=${authFileOf(home)}`,
      `${home.host}/${name}`,
      "--to-oci-layout",
      `${folder}:pulled`,
    ]),
};

export const LOG_IN_CLIENTS: readonly LogInClient[] = [CRANE, skopeo, podman, regctl, oras];

/** A home without log-ins, gone with the test. */
export async function makeHome(t: Test, host: string, certificates?: ClientFiles): Promise<Home> {
  // A short name: podman refuses a --runroot of more than 50 characters.
  const folder = await mkdtemp(join(tmpdir(), "slh-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, "auth.json"), "{}"); // podman wants the file that it is given
  return { folder, host, ...(certificates !== undefined && { certificates }) };
}

/** Where skopeo, podman and oras keep log-ins, in the form of Docker's config.json. */
export function authFileOf(home: Home): string {
  return join(home.folder, "auth.json");
}

/** What a log-in leaves behind, for those that would not keep a wrong one. */
export async function keepLogIn(home: Home, { user, password }: LogIn): Promise<void> {
  const auth = Buffer.from(`${user}:${password}`).toString("base64");
  const text = JSON.stringify({ auths: { [home.host]: { auth } } });
  await writeFile(authFileOf(home), text);
  await writeFile(join(home.folder, "config.json"), text);
  await rm(join(home.folder, "regctl.json"), { force: true }); // it comes before Docker's
}

async function pullInto(home: Home, command: (folder: string) => readonly string[]): Promise<Ran> {
  const folder = join(home.folder, "pulled");
  const [tool = "", ...args] = command(folder);
  try {
    return await runAt(home, tool, args);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runAt(home: Home, tool: string, args: readonly string[]): Promise<Ran> {
  const { folder } = home;
  const env = { HOME: folder, DOCKER_CONFIG: folder, REGCTL_CONFIG: join(folder, "regctl.json") };
  return await run(tool, args, { env, cwd: folder });
}

function containersLogIn(home: Home, { user, password }: LogIn): readonly string[] {
  const who = [`--authfile=${authFileOf(home)}`, "-u", user, "-p", password];
  return ["login", ...containersTls(home), ...who, home.host];
}

function containersTls({ certificates }: Home): readonly string[] {
  return certificates === undefined
    ? ["--tls-verify=false"]
    : [`--cert-dir=${certificates.folder}`];
}

function podmanBase({ folder }: Home): readonly string[] {
  const places = ["--root", join(folder, "root"), "--runroot", join(folder, "run")];
  return [...places, "--storage-driver=vfs", "--events-backend=none"];
}

async function setUpRegctl(home: Home): Promise<void> {
  const { certificates, host } = home;
  const { pair } = certificates ?? {};
  const tls =
    certificates === undefined
      ? ["--tls", "disabled"]
      : [
          ...["--tls", "enabled", "--cacert", certificates.ca],
          ...(pair === undefined ? [] : ["--client-cert", pair.cert, "--client-key", pair.key]),
        ];
  await runAt(home, "regctl", ["registry", "set", host, "--skip-check", ...tls]);
}

function orasTls({ certificates }: Home, side: "" | "from-"): readonly string[] {
  if (certificates === undefined) {
    return [`--${side}plain-http`];
  }
  const { folder, pair } = certificates;
  return [
    `--${side}ca-file=${join(folder, "ca.crt")}`,
    ...(pair === undefined
      ? []
      : [
          `--${side}cert-file=${join(folder, "client.cert")}`,
          `--${side}key-file=${join(folder, "client.key")}`,
        ]),
  ];
}
