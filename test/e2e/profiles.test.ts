import type { Test } from "tap";
import t from "tap";
import type { RegistryBehaviour } from "../support/profile-behaviour.ts";
import { ACR, ARTIFACT_REGISTRY, ECR, ECR_PUBLIC, GCR } from "../support/profile-clouds.ts";
import { DOCKER_HUB, GHCR, GITLAB, OLDER_QUAY, QUAY } from "../support/profile-public.ts";
import type { ProfileRequest } from "../support/profile-registry.ts";
import type { ProfileRig } from "../support/profile-rig.ts";
import { GOOD_PASSWORD, openProfile } from "../support/profile-rig.ts";
import { ARTIFACTORY, HARBOR, NEXUS, NEXUS_TOKENS } from "../support/profile-servers.ts";

const PROFILES: readonly RegistryBehaviour[] = [
  DOCKER_HUB,
  GHCR,
  QUAY,
  OLDER_QUAY,
  GITLAB,
  ECR,
  ECR_PUBLIC,
  ARTIFACT_REGISTRY,
  GCR,
  ACR,
  HARBOR,
  NEXUS,
  NEXUS_TOKENS,
  ARTIFACTORY,
];
const OTHER_PASSWORD = "s3cret-another";

const TESTS: readonly [
  name: string,
  run: (t: Test, profile: RegistryBehaviour) => Promise<void>,
][] = [
  ["an image is fetched once, then only its tag is asked for", pulls],
  ["a wrong password is said to be, until the file has the right one", refuses],
  ["a token that ends between two requests is nobody's trouble", renews],
  ["a log-in that is revoked is refused, whatever is held", revokes],
  ["what does not exist is told from what one may not read where it can be", misses],
  ["tags are listed to the end, and referrers found", lists],
];

for (const profile of PROFILES) {
  t.test(profile.name, async (t) => {
    for (const [name, run] of TESTS) {
      await t.test(name, (t) => run(t, profile));
    }
  });
}

async function pulls(t: Test, profile: RegistryBehaviour): Promise<void> {
  const rig = await openProfile(t, profile);
  const { fake, pull, later } = rig;
  await pull();
  t.equal(gets(fake.requests, "/manifests/"), 2, "one challenge, one manifest");
  later();
  const before = fake.requests.length;
  await pull();
  t.same(
    fake.requests
      .slice(before)
      .map(({ method, path }) => `${method} ${path.replace(/.*\/v2/, "")}`),
    [`HEAD /${profile.repository}/manifests/1`],
    "warm: one HEAD, which costs no quota, and no byte of what is held",
  );
  t.equal(fake.tokenRequests.length, profile.tokens === undefined ? 0 : 1, "one token for all");
  expectSecretsAtHome(t, rig, profile);
  const remaining = profile.manifestHeaders?.["ratelimit-remaining"] ?? "0";
  t.equal(
    await rig.proxy.metric('sluice_upstream_rate_limit_remaining{upstream="team.example"}'),
    Number.parseInt(remaining, 10),
  );
}

async function refuses(t: Test, profile: RegistryBehaviour): Promise<void> {
  const rig = await openProfile(t, profile);
  const { configure, later, pull } = rig;
  configure(OTHER_PASSWORD);
  await expectRefusal(t, rig, profile);
  configure(GOOD_PASSWORD);
  later();
  await t.resolves(pull(), "the right one counts without a restart");
}

async function renews(t: Test, profile: RegistryBehaviour): Promise<void> {
  const { fake, pull, later, configure } = await openProfile(t, profile);
  await pull();
  later();
  if (profile.tokens === undefined) {
    fake.rotate(OTHER_PASSWORD);
    configure(OTHER_PASSWORD);
  }
  fake.endTokens();
  await t.resolves(pull());
  t.equal(fake.tokenRequests.length, profile.tokens === undefined ? 0 : 2);
}

async function revokes(t: Test, profile: RegistryBehaviour): Promise<void> {
  const rig = await openProfile(t, profile);
  const { fake, pull, later, configure, get, digest } = rig;
  await pull();
  fake.rotate(OTHER_PASSWORD);
  later();
  await expectRefusal(t, rig, profile);
  const held = await get(`${profile.repository}/manifests/${digest}`);
  t.equal(held.status, 200, "by digest it is held, and shared");
  await held.arrayBuffer();
  configure(OTHER_PASSWORD);
  later();
  await t.resolves(pull());
  expectSecretsAtHome(t, rig, profile);
}

async function misses(t: Test, profile: RegistryBehaviour): Promise<void> {
  const { get } = await openProfile(t, profile);
  const missing = await get(`${profile.repository}/manifests/2`);
  t.equal(missing.status, 404);
  t.match(await errorOf(missing), { code: "MANIFEST_UNKNOWN" });
  const other = await get("other/manifests/1");
  const isSure = profile.unreadable.status === 404;
  t.equal(other.status, isSure ? 404 : 403);
  const { code, message } = await errorOf(other);
  t.equal(code, isSure ? "NAME_UNKNOWN" : "DENIED");
  t.match(message, /team\.example/);
  t.match(message, isSure ? /does not have other:1/ : /the image does not exist, or the user name/);
}

async function lists(t: Test, profile: RegistryBehaviour): Promise<void> {
  const { fake, get, digest, proxy } = await openProfile(t, profile);
  const { repository, noReferrers } = profile;
  for (const tag of ["2", "3", "4", "5"]) {
    fake.content.addManifest(repository, tag, { schemaVersion: 2, note: tag });
  }
  const tags: string[] = [];
  let path: string | undefined = `${repository}/tags/list?n=2`;
  while (path !== undefined && tags.length < 10) {
    const page: Response = await get(path);
    tags.push(...((await page.json()) as { tags: string[] }).tags);
    path = /<\/v2\/([^>]+)>/.exec(page.headers.get("link") ?? "")?.[1];
  }
  t.same(tags, ["1", "2", "3", "4", "5"]);
  const artefact = fake.content.addManifest(repository, undefined, {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    artifactType: "application/x.test",
    subject: { digest },
  });
  if (noReferrers !== undefined) {
    const index = "application/vnd.oci.image.index.v1+json";
    const manifests = [{ mediaType: index, digest: artefact, size: 1 }];
    fake.content.addManifest(repository, digest.replace(":", "-"), {
      schemaVersion: 2,
      mediaType: index,
      manifests,
    });
  }
  const found = await get(`${repository}/referrers/${digest}`);
  t.equal(found.status, 200);
  t.match(await found.json(), { manifests: [{ digest: artefact }] });
  t.same(proxy.complaints, []);
}

/** 403 for the client, on HEAD as well, with who refused what and what to do, and no secret. */
async function expectRefusal(
  t: Test,
  { get }: ProfileRig,
  profile: RegistryBehaviour,
): Promise<void> {
  const path = `${profile.repository}/manifests/1`;
  const refused = await get(path);
  t.equal(refused.status, 403);
  const { code, message } = await errorOf(refused);
  t.equal(code, "DENIED");
  t.match(message, /team\.example/, "which upstream");
  t.match(message, /user name and password/, "which kind of log-in");
  t.match(message, /check them/, "what to do");
  t.notMatch(message, /s3cret|issued-\d/);
  t.notOk(message.includes(profile.username), "nor who we are");
  t.equal((await get(path, "HEAD")).status, 403);
}

async function errorOf(response: Response): Promise<{ code: string; message: string }> {
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  return errors[0] ?? { code: "", message: "" };
}

/** Our password at the registry's own door only, its tokens nowhere else, and nothing but `pull`. */
function expectSecretsAtHome(t: Test, { fake }: ProfileRig, profile: RegistryBehaviour): void {
  const elsewhere = fake.requests.filter(({ server }) => server === "storage");
  t.same(
    elsewhere.filter(({ authorization }) => authorization !== undefined),
    [],
  );
  const texts = fake.requests.map(({ path, body }) => decodeURIComponent(path) + body);
  t.same(
    texts.filter((text) => text.includes("s3cret") || /issued-\d/.test(text)),
    [],
  );
  if (profile.tokens !== undefined) {
    const asked = new Set(fake.tokenRequests);
    const withPassword = fake.requests.filter((one) => one.authorization?.startsWith("Basic "));
    t.ok(
      withPassword.every((one) => asked.has(one)),
      "the password is for the token service",
    );
  }
  for (const { method, path } of fake.tokenRequests) {
    t.equal(method, "GET");
    const scopes = new URL(path, "http://fake.invalid").searchParams.getAll("scope");
    const isPublic = profile.name === "ECR Public";
    t.same(scopes, [isPublic ? "aws" : `repository:${profile.repository}:pull`]);
  }
}

function gets(requests: readonly ProfileRequest[], part: string): number {
  return requests.filter(({ method, path }) => method === "GET" && path.includes(part)).length;
}
