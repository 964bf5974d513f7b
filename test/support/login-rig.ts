import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CryptoKey } from "jose";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { Test } from "tap";
import { addRealImage } from "./enforce-images.ts";
import type { FakeUpstream } from "./fake-upstream.ts";
import { startFakeUpstream } from "./fake-upstream.ts";
import { multiPlatformImage } from "./image-builder.ts";
import type { LogIn } from "./login-clients.ts";
import { run } from "./processes.ts";
import { SluiceProcess } from "./sluice-process.ts";

const ISSUER = "https://issuer.example";
const AUDIENCE = "sluice";

/** What shells, headers and their encodings stumble over. */
export const ALICE: LogIn = { user: "alice", password: "a: s\u00e9cret $1" };
export const BOB: LogIn = { user: "bob", password: "b-secret" };
export const WRONG: LogIn = { user: "alice", password: "wrong" };

export const PRIVATE = "team.example/team/private:v1";
export const PUBLIC = "team.example/team/public:v1";

/** Alice may pull all, Bob and the group `ci` of the issuer a part. */
const RULES = [
  { who: ["user:alice"], pull: ["team.example/**"] },
  { who: ["group:ci"], pull: ["team.example/team/private"] },
  { who: ["*"], pull: ["team.example/team/public"] },
];

export interface LogInRig {
  readonly upstream: FakeUpstream;
  readonly sluice: SluiceProcess;
  /** A JWT of the configured issuer for the subject `robot` in the group `ci`. */
  token(): Promise<string>;
  /** One that was signed with another key. */
  forgedToken(): Promise<string>;
}

export interface LogInRigOptions {
  readonly anonymous?: boolean;
  /** More of the configuration file, and files beside it. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly clients?: Readonly<Record<string, unknown>>;
  readonly files?: Readonly<Record<string, string>>;
}

/** Sluice as a process, with users, an issuer of tokens and rules, before a registry in memory. */
export async function startLogInRig(t: Test, options: LogInRigOptions = {}): Promise<LogInRig> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  for (const repository of ["team/private", "team/public"]) {
    const artifact = await multiPlatformImage(repository.replace("/", "-"));
    await addRealImage(upstream, { repository, tag: "v1", artifact });
  }
  const issuer = await generateKeyPair("ES256");
  const stranger = await generateKeyPair("ES256");
  const jwk = { ...(await exportJWK(issuer.publicKey)), kid: "one", alg: "ES256", use: "sig" };
  const { anonymous = false, clients = {}, config = {}, files = {} } = options;
  const sluice = await SluiceProcess.start({
    config: {
      upstreams: { "team.example": { url: upstream.url } },
      clients: {
        htpasswdFile: "users.htpasswd",
        tokens: [{ issuer: ISSUER, audience: AUDIENCE, jwksFile: "keys.json" }],
        anonymous,
        rules: RULES,
        ...clients,
      },
      ...config,
    },
    files: {
      "users.htpasswd": await htpasswdOf(ALICE, BOB),
      "keys.json": JSON.stringify({ keys: [jwk] }),
      ...files,
    },
  });
  t.teardown(() => sluice[Symbol.asyncDispose]());
  return {
    upstream,
    sluice,
    token: () => signToken(issuer.privateKey),
    forgedToken: () => signToken(stranger.privateKey),
  };
}

/** A password file as the real htpasswd writes it, with a low cost: tests must not wait for bcrypt. */
export async function htpasswdOf(...logIns: readonly LogIn[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "slh-"));
  try {
    const file = join(folder, "users");
    await writeFile(file, "");
    for (const { user, password } of logIns) {
      const { code, output } = await run("htpasswd", ["-B", "-C", "5", "-b", file, user, password]);
      if (code !== 0) {
        throw new Error(`htpasswd: ${output}`);
      }
    }
    return await readFile(file, "utf8");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function signToken(key: CryptoKey): Promise<string> {
  return await new SignJWT({ groups: ["ci"] })
    .setProtectedHeader({ alg: "ES256", kid: "one" })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setSubject("robot")
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign(key);
}
