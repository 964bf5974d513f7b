import type { Artifact } from "./image-builder.ts";
import {
  debianImage,
  helmChart,
  multiPlatformImage,
  referrerOf,
  referrersIndex,
  sha512Artifact,
} from "./image-builder.ts";
import type { PushTarget } from "./push-client.ts";
import { push } from "./push-client.ts";

/** Where an artifact was pushed, and how clients ask Sluice for it. */
export interface Item {
  /** `team.example` is a docker-registry with passwords, `token.example` a distribution 3 with tokens. */
  readonly upstream: "team.example" | "token.example";
  /** As the upstream knows it. */
  readonly repository: string;
  readonly tag: string;
  readonly artifact: Artifact;
  readonly isImage: boolean;
}

export const UPSTREAMS: readonly Item["upstream"][] = ["team.example", "token.example"];
export const SBOM_TYPE = "application/vnd.example.sbom.v1";
export const SCAN_TYPE = "application/vnd.example.scan.v1";

export async function allItems(): Promise<Item[]> {
  const image = { tag: "v1", isImage: true } as const;
  const other = { isImage: false } as const;
  const team = "team.example";
  const token = "token.example";
  return [
    { ...image, upstream: team, repository: "app/web", artifact: await debianImage() },
    {
      ...image,
      upstream: team,
      repository: "app/legacy",
      artifact: await multiPlatformImage("legacy", "docker"),
    },
    {
      ...image,
      upstream: token,
      repository: "app/multi",
      artifact: await multiPlatformImage("multi"),
    },
    {
      ...image,
      upstream: token,
      repository: "app/zstd",
      artifact: await debianImage({ compression: "zstd" }),
    },
    {
      ...other,
      upstream: token,
      repository: "charts/demo",
      tag: "1.0.0",
      artifact: helmChart("demo", "1.0.0"),
    },
    {
      ...other,
      upstream: team,
      repository: "app/long",
      tag: "v1",
      artifact: sha512Artifact("a long digest\n"),
    },
  ];
}

/** Pushes every item, and two referrers of each image. */
export async function pushItems(
  targets: Readonly<Record<Item["upstream"], PushTarget>>,
  items: readonly Item[],
): Promise<void> {
  for (const { upstream, repository, tag, artifact, isImage } of items) {
    await push(targets[upstream], repository, tag, artifact);
    if (isImage) {
      await pushReferrers(targets[upstream], repository, artifact);
    }
  }
}

/** Neither registry has the referrers API: both keep what their clients write, the fallback tag. */
async function pushReferrers(
  target: PushTarget,
  repository: string,
  { top }: Artifact,
): Promise<void> {
  const referrers = [
    referrerOf(top, SBOM_TYPE, "packages"),
    referrerOf(top, SCAN_TYPE, "findings"),
  ];
  for (const referrer of referrers) {
    await push(target, repository, referrer.top.digest.slice(7, 19), referrer);
  }
  await push(target, repository, top.digest.replace(":", "-"), referrersIndex(referrers));
}
