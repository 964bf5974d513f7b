import { AirGapError } from "./air-gap-error.ts";

/** `linux/arm64/v8`: image-spec v1.1.1 image-index.md, GOOS/GOARCH[/variant]. */
const PLATFORM_PATTERN = /^[a-z0-9]{1,32}\/[a-z0-9_]{1,32}(?:\/[a-z0-9.]{1,32})?$/;

/** Whether a text could be a platform. */
export function isPlatform(text: string): boolean {
  return PLATFORM_PATTERN.test(text);
}

/**
 * The platforms of an index, by the digest of what is for them; what is for none is not in it.
 * The index has been inspected: it is a JSON object whose `manifests` are objects.
 */
export function platformsOf(index: Buffer): ReadonlyMap<string, readonly string[]> {
  const { manifests } = JSON.parse(index.toString("utf8")) as {
    readonly manifests?: readonly { readonly digest?: unknown; readonly platform?: unknown }[];
  };
  const platforms = new Map<string, readonly string[]>();
  for (const { digest, platform } of manifests ?? []) {
    const text = textOf(platform);
    if (typeof digest === "string" && text !== undefined) {
      platforms.set(digest, [...(platforms.get(digest) ?? []), text]);
    }
  }
  return platforms;
}

/** `linux/arm64` is every variant of it; `linux/arm64/v8` is that one. */
export function isAmong(platforms: readonly string[], wanted: readonly string[]): boolean {
  return platforms.some((platform) =>
    wanted.some((one) => platform === one || platform.startsWith(`${one}/`)),
  );
}

/** @throws AirGapError when an index has nothing for one that was asked for. */
export function refuseMissing(
  what: string,
  offered: readonly string[],
  wanted: readonly string[],
): void {
  const missing = wanted.find((one) => !isAmong(offered, [one]));
  if (missing !== undefined) {
    const has = offered.length === 0 ? "says no platforms" : `has ${offered.join(", ")}`;
    throw new AirGapError(`${what} has nothing for ${missing}: it ${has}`);
  }
}

/** BuildKit's attestations are for `unknown/unknown`: that is no platform. */
function textOf(platform: unknown): string | undefined {
  if (typeof platform !== "object" || platform === null) {
    return;
  }
  const { os, architecture, variant } = platform as Readonly<Record<string, unknown>>;
  const parts = [os, architecture, ...(variant === undefined ? [] : [variant])];
  const text = parts.join("/");
  return text === "unknown/unknown" || !isPlatform(text) ? undefined : text;
}
