import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { bundledPublicGoodRoot } from "../../server/policy/trust/public-good-root.ts";
import type { RefreshOutcome } from "../../server/policy/trust/trust-roots.ts";
import { TrustRoots } from "../../server/policy/trust/trust-roots.ts";
import type { TrustSettings } from "../../server/policy-settings.ts";
import type { TufRepository } from "./tuf-repository.ts";

export const BUNDLED: string = bundledPublicGoodRoot();

export interface Scheduled {
  readonly delayMs: number;
  readonly run: () => void;
  isCalledOff: boolean;
}

export interface Opened extends AsyncDisposable {
  readonly roots: TrustRoots;
  readonly folder: string;
  readonly logged: string[];
  readonly outcomes: RefreshOutcome[];
  readonly changes: string[];
  readonly scheduled: Scheduled[];
}

export interface Opening {
  readonly settings: TrustSettings;
  readonly folder: string;
  readonly bundled?: string;
}

/** With a schedule that only a test runs, and everything told collected. */
export function openRoots({ settings, folder, bundled = BUNDLED }: Opening): Opened {
  const logged: string[] = [];
  const outcomes: RefreshOutcome[] = [];
  const changes: string[] = [];
  const scheduled: Scheduled[] = [];
  const roots = TrustRoots.open({
    settings,
    folder,
    bundled: () => bundled,
    log: {
      info: (_, message) => logged.push(`info ${message}`),
      warn: (_, message) => logged.push(`warn ${message}`),
    },
    onChanged: () => changes.push(roots.revision),
    onRefreshed: (outcome) => outcomes.push(outcome),
    random: () => 0.5,
    later: (run, delayMs) => {
      const one = { run, delayMs, isCalledOff: false };
      scheduled.push(one);
      return () => {
        one.isCalledOff = true;
      };
    },
  });
  const end = (): Promise<void> => roots[Symbol.asyncDispose]();
  return { roots, folder, logged, outcomes, changes, scheduled, [Symbol.asyncDispose]: end };
}

/** The same root in other bytes: a revision of its own. */
export function variant(number: number): string {
  return JSON.stringify(JSON.parse(BUNDLED), undefined, number);
}

/** For a private repository; a test may ask for them again, as after a restart. */
export function settingsOf(t: Test, repository: TufRepository): TrustSettings {
  const folder = existsSync(t.testdirName) ? t.testdirName : t.testdir({});
  const tufRootFile = join(folder, "root.json");
  writeFileSync(tufRootFile, repository.firstRoot);
  return { publicGood: "tuf", tufMirror: repository.url, tufRootFile };
}

/** Of a private repository, which was never reached before. */
export function openPrivate(t: Test, repository: TufRepository): Opened {
  const settings = settingsOf(t, repository);
  return openRoots({ settings, folder: join(t.testdirName, "data", "trust") });
}
