import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import type { KubeletProviderSettings } from "../../server/settings.ts";

export const PROVIDER_API = "credentialprovider.kubelet.k8s.io/v1";

/** A plugin, and how the configuration names it. */
export interface FakePlugin {
  /**
   * What it does, in JavaScript. `answer({…})` prints a response with what is given; `run` counts
   * its runs from 1; `request` is what it was asked.
   */
  readonly script: string;
  readonly matchImages?: readonly string[];
  readonly defaultCacheDuration?: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
}

export interface PluginRunSeen {
  readonly request: unknown;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface KubeletRig {
  readonly settings: KubeletProviderSettings;
  /** Every run of a plugin so far. */
  runs(name: string): readonly PluginRunSeen[];
  /** Puts other plugins in place, and their configuration. */
  write(plugins: Readonly<Record<string, FakePlugin>>): void;
}

/** A folder of plugins that are small scripts, and the configuration that names them. */
export function kubeletRig(t: Test, plugins: Readonly<Record<string, FakePlugin>>): KubeletRig {
  // Without a package.json of its own, a file without extension would be what the project's are.
  const folder = t.testdir({ "package.json": '{ "type": "commonjs" }' });
  // The test runner's hooks are for tests, and would be loaded by each plugin.
  delete process.env["NODE_OPTIONS"];
  const settings = { configFile: join(folder, "config.json"), binDir: join(folder, "bin") };
  const logOf = (name: string): string => join(folder, `${name}.log`);
  mkdirSync(settings.binDir);
  const rig: KubeletRig = {
    settings,
    runs: (name) => {
      const text = existsSync(logOf(name)) ? readFileSync(logOf(name), "utf8") : "";
      const lines = text.split("\n").filter((line) => line !== "");
      return lines.map((line): PluginRunSeen => JSON.parse(line));
    },
    write: (written) => {
      for (const [name, { script }] of Object.entries(written)) {
        const file = join(settings.binDir, name);
        writeFileSync(file, `#!${process.execPath}\n${prelude(logOf(name))}\n${script}\n`);
        chmodSync(file, 0o755);
      }
      writeFileSync(settings.configFile, JSON.stringify(configOf(written)));
    },
  };
  rig.write(plugins);
  return rig;
}

function configOf(plugins: Readonly<Record<string, FakePlugin>>): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1",
    kind: "CredentialProviderConfig",
    providers: Object.entries(plugins).map(([name, { script: _, ...rest }]) => ({
      name,
      apiVersion: PROVIDER_API,
      matchImages: ["*.example"],
      defaultCacheDuration: "1h0m0s",
      ...rest,
    })),
  };
}

/** Notes each run before anything else, so that one that hangs or fails is counted, too. */
function prelude(log: string): string {
  return `
const { appendFileSync, readFileSync } = require("node:fs");
const request = JSON.parse(readFileSync(0, "utf8"));
const seen = { request, args: process.argv.slice(2), env: process.env };
appendFileSync(${JSON.stringify(log)}, JSON.stringify(seen) + "\\n");
const run = readFileSync(${JSON.stringify(log)}, "utf8").split("\\n").length - 1;
const answer = (fields) => process.stdout.write(JSON.stringify({
  apiVersion: ${JSON.stringify(PROVIDER_API)},
  kind: "CredentialProviderResponse",
  cacheKeyType: "Registry",
  ...fields,
}));`;
}
