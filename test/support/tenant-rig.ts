import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import type { UpstreamSettings } from "../../server/settings.ts";
import type { TestProxy } from "./start-proxy.ts";
import { startProxy } from "./start-proxy.ts";
import type { Scheme, TenantRegistry } from "./tenant-registry.ts";
import { basic } from "./tenant-registry.ts";
import type { Ask, Reply } from "./tenant-rows.ts";
import { faceOf, problemOf, send } from "./tenant-rows.ts";

/** A client, and what it sends; what it sends directly may be another thing at another registry. */
export interface Who {
  readonly name: string;
  readonly authorization: string | undefined;
}

export const ALICE: Who = { name: "alice", authorization: basic("alice:a-secret") };
export const BOB: Who = { name: "bob", authorization: basic("bob:b-secret") };
export const NOBODY: Who = { name: "nobody", authorization: undefined };

export const WHO: readonly Who[] = [
  ALICE,
  BOB,
  NOBODY,
  { name: "podman's nobody", authorization: basic(":") },
  { name: "a wrong password", authorization: basic("alice:wrong") },
  { name: "alice with bob's password", authorization: basic("alice:b-secret") },
  { name: "a name in other letters", authorization: basic("Alice:a-secret") },
  { name: "somebody who is gone", authorization: basic("carol:c-secret") },
  { name: "a token that has ended", authorization: "Bearer ended" },
  { name: "another scheme", authorization: "Negotiate YWxpY2U6YS1zZWNyZXQ=" },
];

/** What the registry itself answers to a client that logs in there as it asks for it. */
export async function askDirectly(
  { upstream }: TenantRegistry,
  scheme: Scheme,
  ask: Ask,
  { authorization }: Who,
): Promise<Reply> {
  if (scheme === "basic" || authorization?.startsWith("Bearer ") === true) {
    return await send(upstream.url, ask, authorization);
  }
  // To a token service, what it does not know is nobody.
  const headers = authorization?.startsWith("Basic ") === true ? { authorization } : undefined;
  const url = new URL(upstream.tokens.realm);
  url.searchParams.set("scope", `repository:${ask.repository}:pull`);
  const answer = await fetch(url, headers === undefined ? {} : { headers });
  if (answer.status !== 200) {
    return { status: 401, headers: answer.headers, body: await answer.text() };
  }
  const { token } = (await answer.json()) as { readonly token: string };
  return await send(upstream.url, ask, `Bearer ${token}`);
}

/** By client, and by what it asks for. */
export type Oracle = (who: Who, ask: Ask) => Reply;

export async function oracleOf(
  registry: TenantRegistry,
  scheme: Scheme,
  asks: readonly Ask[],
): Promise<Oracle> {
  const replies = new Map<string, Reply>();
  for (const who of WHO) {
    for (const ask of asks) {
      replies.set(keyOf(who, ask), await askDirectly(registry, scheme, ask, who));
    }
  }
  return (who, ask) => {
    const reply = replies.get(keyOf(who, ask));
    if (reply === undefined) {
      throw new Error(`nobody has asked for ${keyOf(who, ask)}`);
    }
    return reply;
  };
}

/** Every refusal that somebody got so far: it must be the same whatever is held. */
export type Faces = Map<string, string>;

/** Asks as each of them, all in turn, and says what is wrong: nothing of it should be. */
export async function sweep(
  url: string,
  oracle: Oracle,
  asks: readonly Ask[],
  { who, faces }: { readonly who: readonly Who[]; readonly faces: Faces },
): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const ask of asks) {
    for (const one of who) {
      const theirs = oracle(one, ask);
      const ours = await send(url, ask, one.authorization);
      const problem = problemOf(ask, theirs, ours) ?? changeOf(keyOf(one, ask), ours, faces);
      if (problem !== undefined) {
        problems.push(`${keyOf(one, ask)}: ${problem}`);
      }
    }
  }
  return problems;
}

function changeOf(key: string, ours: Reply, faces: Faces): string | undefined {
  if (ours.status !== 401 && ours.status !== 403) {
    return;
  }
  const face = faceOf(ours);
  const before = faces.get(key) ?? face;
  faces.set(key, face);
  return before === face ? undefined : `refused in other words: ${before} and ${face}`;
}

function keyOf(who: Who, { repository, how }: Ask): string {
  return `${who.name}: ${repository}: ${how}`;
}

export interface PerClientOptions {
  readonly own: boolean;
  readonly dataPath?: string;
  readonly now?: () => number;
}

/** In front of that registry, with `access: per-client`; `own`: with a log-in of its own, too. */
export function startPerClient(
  t: Test,
  { upstream }: TenantRegistry,
  { own, ...rest }: PerClientOptions,
): Promise<TestProxy> {
  const auth = { username: "robot", password: "r-secret" };
  const settings: Partial<UpstreamSettings> & Pick<UpstreamSettings, "urls"> = {
    urls: [upstream.url],
    access: "per-client",
    ...(own && { auth }),
  };
  return startProxy(t, { upstreams: [settings], ...rest });
}

/** As after an eviction: what is known of repositories stays, the bytes are gone. */
export async function forgetBlobs(dataPath: string): Promise<void> {
  await rm(join(dataPath, "v1", "blobs"), { recursive: true, force: true });
}
