import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PullRequest } from "./clients.ts";
import type { Passed } from "./counting-proxy.ts";
import { CountingProxy } from "./counting-proxy.ts";
import type { Item } from "./e2e-items.ts";
import { allItems, pushItems } from "./e2e-items.ts";
import { PASSWORD, RealRegistry, USER } from "./real-registry.ts";
import { SluiceProcess } from "./sluice-process.ts";

/** The real registries, filled, for all tests of a file; Sluices are started against them one by one. */
export class Rig implements AsyncDisposable {
  readonly items: readonly Item[];
  /** A folder for what clients write. */
  readonly folder: string;
  readonly passwords: RealRegistry;
  readonly tokens: RealRegistry;

  private constructor(at: {
    readonly folder: string;
    readonly passwords: RealRegistry;
    readonly tokens: RealRegistry;
    readonly items: readonly Item[];
  }) {
    this.folder = at.folder;
    this.passwords = at.passwords;
    this.tokens = at.tokens;
    this.items = at.items;
  }

  static async start(): Promise<Rig> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "sluice-e2e-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const passwords = stack.use(await RealRegistry.startWithPasswords());
    const tokens = stack.use(await RealRegistry.startWithTokens());
    const items = await allItems();
    await pushItems({ "team.example": passwords, "token.example": tokens }, items);
    stack.move(); // all is well: from here on the rig owns them
    return new Rig({ folder, passwords, tokens, items });
  }

  /** An empty Sluice with counting proxies between it and both registries. */
  async sluice(options: { readonly password?: string } = {}): Promise<RiggedSluice> {
    await using stack = new AsyncDisposableStack();
    const team = stack.use(await CountingProxy.start(this.passwords.url));
    const token = stack.use(await CountingProxy.start(this.tokens.url));
    const auth = { username: USER, passwordFile: "password" };
    // Freshness 0: every pull by tag asks the upstream, so that a dead one is really missed.
    const common = { auth, tagFreshSeconds: 0 };
    const process = stack.use(
      await SluiceProcess.start({
        config: {
          upstreams: {
            "team.example": { url: team.url, ...common },
            "token.example": { url: token.url, ...common },
          },
        },
        files: { password: `${options.password ?? PASSWORD}\n` },
      }),
    );
    return new RiggedSluice(process, [team, token], stack.move());
  }

  /** The scopes of the tokens that were given out since the last call. */
  takeTokenScopes(): string[] {
    const requests = this.tokens.tokens?.requests.splice(0) ?? [];
    return requests.filter(({ status }) => status === 200).flatMap(({ scopes }) => scopes);
  }

  item(repository: string): Item {
    const found = this.items.find((item) => item.repository === repository);
    if (!found) {
      throw new Error(`the rig has no ${repository}`);
    }
    return found;
  }

  /** A request for an item, into a folder named after `who`. */
  request(item: Item, host: string, who: string): PullRequest {
    const { upstream, repository, tag } = item;
    const folder = `${who} ${repository}`.replaceAll(/[^a-z0-9]+/g, "-");
    return {
      host,
      repository: `${upstream}/${repository}`,
      tag,
      folder: join(this.folder, folder),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.passwords[Symbol.asyncDispose]();
    await this.tokens[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export class RiggedSluice implements AsyncDisposable {
  readonly process: SluiceProcess;
  readonly #proxies: readonly CountingProxy[];
  readonly #owned: AsyncDisposableStack;

  constructor(
    process: SluiceProcess,
    proxies: readonly CountingProxy[],
    owned: AsyncDisposableStack,
  ) {
    this.process = process;
    this.#proxies = proxies;
    this.#owned = owned;
  }

  get host(): string {
    return this.process.host;
  }

  /** Every request that reached an upstream since the last call, and was answered with content. */
  served(): Passed[] {
    return this.#proxies.flatMap((proxy) => proxy.take()).filter((passed) => passed.status < 300);
  }

  /** Both upstreams break the next body of a path like this, after so many bytes. */
  cutOnce(path: RegExp, afterBytes: number): void {
    for (const proxy of this.#proxies) {
      proxy.cutOnce(path, afterBytes);
    }
  }

  /** From now on both upstreams refuse connections. */
  async stopUpstreams(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.stop()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** How often each blob was fetched, by digest. */
export function blobFetches(passed: readonly Passed[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { method, path } of passed) {
    const digest = /\/blobs\/([^?]+)/.exec(path)?.[1];
    if (method === "GET" && digest !== undefined) {
      counts.set(digest, (counts.get(digest) ?? 0) + 1);
    }
  }
  return counts;
}
