import type { Test } from "tap";
import type { PolicySettings, RuleSettings } from "../../server/policy-settings.ts";
import type { FakeUpstream } from "./fake-upstream.ts";
import { startFakeUpstream } from "./fake-upstream.ts";
import { PLATFORMS } from "./policy-rig.ts";
import type { Route, RouteAnswer } from "./routes.ts";
import { askBy, pickyRoutesTo, routesTo } from "./routes.ts";
import type { AddedImage, Sign } from "./signed-images.ts";
import { addSignedImage } from "./signed-images.ts";
import type { TestProxy } from "./start-proxy.ts";
import { startProxy } from "./start-proxy.ts";

/** What is put beside an image, and a part of what the proxy has to answer then. */
export type Forgery = readonly [
  beside: Sign | readonly Sign[],
  why: RegExp,
  options?: ForgeryOptions,
];

export interface ForgeryOptions {
  /** 503 where a look-up fails: nobody can tell then. 403 by default. */
  readonly status?: 403 | 503;
  /** Where it makes no sense to try an index as well, or it would take long. */
  readonly onlyImage?: boolean;
}

/** What is put beside an image that is to be served. */
export type Honest = Sign | readonly Sign[];

/** A proxy whose rules are for repositories that begin with their names: `team.example/key/**`. */
export interface Forger {
  readonly upstream: FakeUpstream;
  readonly proxy: TestProxy;
  /** None of them passes, by any route: alone, as an index, or as a child of it. */
  refuse(t: Test, rule: string, forgeries: Readonly<Record<string, Forgery>>): Promise<void>;
  /** All of them pass, by every route, with the right bytes. */
  serve(t: Test, rule: string, honest: Readonly<Record<string, Honest>>): Promise<void>;
  /** What is on the registry already is refused by every route. */
  refuseImage(t: Test, image: AddedImage, what: Refusal): Promise<void>;
  /** What is on the registry already is served by every route. */
  serveImage(t: Test, image: AddedImage, name: string): Promise<void>;
}

export interface Refusal {
  readonly name: string;
  readonly why: RegExp;
  readonly status?: 403 | 503;
  /** What the registry calls it is the forgery, and blobs go without that. */
  readonly onlyAsManifest?: boolean;
}

export async function startForger(
  t: Test,
  rules: readonly RuleSettings[],
  policy: Partial<PolicySettings> = {},
): Promise<Forger> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const proxy = await startProxy(t, {
    upstreams: [{ urls: [upstream.url], aliases: ["mirror.example"] }],
    policy: {
      unmatched: "deny",
      exceptions: [],
      deny: [],
      ...policy,
      rules: rules.map((rule) => ({ ...rule, match: [`team.example/${rule.name}/**`] })),
    },
  });
  return new RunningForger(upstream, proxy);
}

class RunningForger implements Forger {
  readonly upstream: FakeUpstream;
  readonly proxy: TestProxy;
  #count = 0;

  constructor(upstream: FakeUpstream, proxy: TestProxy) {
    this.upstream = upstream;
    this.proxy = proxy;
  }

  async refuse(t: Test, rule: string, forgeries: Readonly<Record<string, Forgery>>): Promise<void> {
    for (const [name, [beside, why, options = {}]] of Object.entries(forgeries)) {
      const { status = 403, onlyImage = false } = options;
      const signatures = [beside].flat();
      const repository = this.#repositoryFor(rule);
      const image = await addSignedImage(this.upstream, { repository, tag: "image", signatures });
      await this.refuseImage(t, image, { name, why, status });
      if (!onlyImage) {
        const index = { repository, tag: "index", platforms: PLATFORMS, signatures };
        const added = await addSignedImage(this.upstream, index);
        const refusal = { name: `${name}, of an index`, why, status };
        await this.#refuseChildren(t, added, `${refusal.name}, asked for before it`);
        await this.refuseImage(t, added, refusal);
        await this.#refuseChildren(t, added, `${refusal.name}, asked for after it`);
      }
    }
  }

  async serve(t: Test, rule: string, honest: Readonly<Record<string, Honest>>): Promise<void> {
    for (const [name, beside] of Object.entries(honest)) {
      const signatures = [beside].flat();
      const repository = this.#repositoryFor(rule);
      const image = await addSignedImage(this.upstream, { repository, tag: "image", signatures });
      await this.serveImage(t, image, name);
      const index = { repository, tag: "index", platforms: PLATFORMS, signatures };
      const added = await addSignedImage(this.upstream, index);
      await this.serveImage(t, added, `${name}, of an index`);
      for (const child of added.children) {
        const failures = await this.#failures(child, this.#rotated(routesTo(child)), isServed);
        t.strictSame(failures, [], `${name}: a child of the index is served`);
      }
    }
  }

  async refuseImage(t: Test, image: AddedImage, refusal: Refusal): Promise<void> {
    const { name, why, status = 403, onlyAsManifest = false } = refusal;
    const routes = [...routesTo(image, image.tag), ...pickyRoutesTo(image, image.tag)].filter(
      ({ path }) => !(onlyAsManifest && path.includes("/blobs/")),
    );
    // What cannot be told is looked for anew each time, and each failure is tried again.
    const asked = this.#rotated(routes).slice(0, status === 503 ? 4 : routes.length);
    const failures = await this.#failures(image, asked, isRefused(status, why));
    t.strictSame(failures, [], `${name}: refused by every route, with the reason`);
  }

  async serveImage(t: Test, image: AddedImage, name: string): Promise<void> {
    const routes = this.#rotated(routesTo(image, image.tag));
    t.strictSame(
      await this.#failures(image, routes, isServed),
      [],
      `${name}: served by every route`,
    );
  }

  /** Any reason will do: what speaks against an index need not be there for its children. */
  async #refuseChildren(t: Test, { children }: AddedImage, name: string): Promise<void> {
    for (const child of children) {
      const routes = this.#rotated(routesTo(child));
      const failures = await this.#failures(child, routes, isRefused(403, /\S/));
      t.strictSame(failures, [], `a child of: ${name}: refused by every route`);
    }
  }

  async #failures(
    image: Pick<AddedImage, "repository" | "digest">,
    routes: readonly Route[],
    problemOf: (answer: RouteAnswer, bytes: Buffer) => string | undefined,
  ): Promise<string[]> {
    const bytes = this.upstream.manifest(image.repository, image.digest) ?? Buffer.alloc(0);
    this.upstream.addBlob(image.repository, bytes); // some registries hand out manifests as blobs
    const failures: string[] = [];
    for (const route of routes) {
      const problem = problemOf(await askBy(this.proxy.url, route), bytes);
      if (problem !== undefined) {
        failures.push(`${route.name}: ${problem}`);
      }
    }
    return failures;
  }

  /** Each image is asked for first by another route: the first one finds nothing decided. */
  #rotated(routes: readonly Route[]): readonly Route[] {
    this.#count += 1;
    const at = this.#count % routes.length;
    return [...routes.slice(at), ...routes.slice(0, at)];
  }

  #repositoryFor(rule: string): string {
    this.#count += 1;
    return `${rule}/image-${this.#count}`;
  }
}

function isRefused(status: number, why: RegExp): (answer: RouteAnswer) => string | undefined {
  return (answer) => {
    const { route, statusText, body } = answer;
    const reason = route.method === "HEAD" ? statusText : messageOf(body);
    if (answer.status !== status) {
      return `${answer.status} ${reason}`;
    }
    if (route.method === "HEAD" && status === 503) {
      return; // only a denial has its reason there
    }
    if (route.method === "HEAD") {
      return /denies/.test(reason) ? undefined : `no reason in '${reason}'`;
    }
    return why.test(reason) ? undefined : `not ${why} but '${reason}'`;
  };
}

function isServed(answer: RouteAnswer, bytes: Buffer): string | undefined {
  const { route, status, statusText, body, headers } = answer;
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(route.headers["range"] ?? "") ?? [];
  const isRange = first !== undefined;
  if (status !== (isRange ? 206 : 200)) {
    return `${status} ${statusText} ${messageOf(body)}`;
  }
  const end = last === undefined || last === "" ? bytes.length : Number(last) + 1;
  const expected = isRange ? bytes.subarray(Number(first), end) : bytes;
  if (Number(headers.get("content-length")) !== expected.length) {
    return `a length of ${headers.get("content-length")}`;
  }
  return route.method === "HEAD" || body.equals(expected) ? undefined : "other bytes";
}

function messageOf(body: Buffer): string {
  try {
    const { errors } = JSON.parse(body.toString()) as { errors: { message: string }[] };
    return errors[0]?.message ?? "";
  } catch {
    return body.subarray(0, 100).toString();
  }
}
