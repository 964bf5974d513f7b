import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Test } from "tap";
import { parse } from "yaml";
import type { FakeUpstream } from "./fake-upstream.ts";
import { startFakeUpstream } from "./fake-upstream.ts";
import { SluiceProcess } from "./sluice-process.ts";

const EXAMPLES = join(import.meta.dirname, "..", "..", "deploy", "policies");
const ROOT_FILE = "trusted_root.json";

export interface ExampleOptions {
  /** `key.yaml` */
  readonly name: string;
  /** What its comments say lies beside it, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** In place of Sigstore's public one, for every keyless signer. */
  readonly trustedRootJson?: string;
  /** Of an exception: its digest, and a day that is still to come. */
  readonly exception?: { readonly digest: string; readonly until: string };
  /** Its images, before it is asked for them. */
  readonly fill: (upstream: FakeUpstream) => Promise<void>;
}

/** An answer for one image: `team.example/prod/app:v1`, or by digest. */
export type AskExample = (image: string) => Promise<Response>;

interface Example {
  readonly upstreams: Readonly<Record<string, unknown>>;
  readonly policy: { readonly exceptions?: readonly object[] };
}

/** A policy from `deploy/policies` in a process of its own, with one registry for all upstreams. */
export async function startExample(t: Test, options: ExampleOptions): Promise<AskExample> {
  const { name, files = {}, trustedRootJson, exception } = options;
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  await options.fill(upstream);
  const folder = t.testdir();
  const beside = { ...files, ...(trustedRootJson && { [ROOT_FILE]: trustedRootJson }) };
  for (const [file, text] of Object.entries(beside)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  const text = readFileSync(join(EXAMPLES, name), "utf8");
  const example = parse(text, (key, value: unknown) => {
    const isPrivate = key === "keyless" && trustedRootJson !== undefined;
    return isPrivate ? { ...Object(value), trustedRootFile: ROOT_FILE } : value;
  }) as Example;
  const { exceptions } = example.policy;
  const names = Object.keys(example.upstreams);
  const config = {
    ...example,
    upstreams: Object.fromEntries(names.map((one) => [one, { url: upstream.url }])),
    policy: {
      ...example.policy,
      ...(exceptions && { exceptions: exceptions.map((one) => ({ ...one, ...exception })) }),
    },
  };
  const sluice = await SluiceProcess.start({ config, folder });
  t.teardown(() => sluice[Symbol.asyncDispose]());
  return async (image) => await fetch(urlOf(sluice, image));
}

/** The name and what comes after its last colon, or after its `@`. */
function urlOf({ registry }: SluiceProcess, image: string): string {
  const [, name, tag, digest] = /^([^:@]+)(?::([^@]+)|@(.+))$/.exec(image) ?? [];
  return `${registry}/v2/${name}/manifests/${tag ?? digest}`;
}
