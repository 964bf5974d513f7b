import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Test } from "tap";
import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import type { AirGapRig } from "../support/air-gap-rig.ts";
import { airGapRig } from "../support/air-gap-rig.ts";
import { byKey, bySignatureTag } from "../support/policy-rig.ts";
import { run } from "../support/processes.ts";
import { OCI_MANIFEST, signAll } from "../support/signed-images.ts";
import { tarOf } from "../support/tar.ts";
import { toolOptions } from "../support/tools.ts";

t.setTimeout(120_000);

const REPOSITORY = "team/app";
const IMAGE = `team.example/${REPOSITORY}:v1`;

/** An image whose layer can be unpacked, signed, and in a file. */
async function exported(
  t: Test,
  ...options: readonly string[]
): Promise<{ readonly rig: AirGapRig; readonly file: string; readonly digest: Digest }> {
  const rig = await airGapRig(t);
  const { upstream } = rig;
  const content = tarOf([{ path: "hello.txt", mode: 0o644, bytes: Buffer.from("hello\n") }]);
  const layer = gzipSync(content);
  const diff = upstream.addBlob("scratch", content);
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: [diff] },
    }),
  );
  const blobOf = (mediaType: string, bytes: Buffer): object => {
    return { mediaType, digest: upstream.addBlob(REPOSITORY, bytes), size: bytes.length };
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: blobOf("application/vnd.oci.image.config.v1+json", config),
    layers: [blobOf("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
  };
  const digest = upstream.addManifest(REPOSITORY, "v1", manifest);
  const size = Buffer.byteLength(JSON.stringify(manifest));
  const subject = { repository: REPOSITORY, digest, mediaType: OCI_MANIFEST, size };
  await signAll(upstream, subject, [byKey, bySignatureTag]);
  const file = rig.file("app.tar");
  const { code, stderr } = await rig.at("here", "export", IMAGE, "-o", file, ...options);
  t.equal(code, 0, stderr);
  return { rig, file, digest };
}

async function succeeds(t: Test, command: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, output } = await run(command, args);
  t.equal(code, 0, `${command} ${args.join(" ")}: ${output}`);
  return stdout;
}

t.test("skopeo takes an image of the file by its tag", toolOptions("skopeo"), async (t) => {
  const { rig, file, digest } = await exported(t);
  const archive = `oci-archive:${file}:v1`;
  t.match(await succeeds(t, "skopeo", "inspect", archive), digest);
  await succeeds(t, "skopeo", "copy", archive, `dir:${rig.file("copied")}`);
});

t.test("oras finds signatures in the file", toolOptions("oras"), async (t) => {
  const { rig, file, digest } = await exported(t);
  const found = await succeeds(t, "oras", "discover", "--oci-layout", `${file}:v1`);
  t.match(found, digest);
  t.match(found, "application/vnd.dev.sigstore.bundle.v0.3+json");
  const to = `${rig.file("copied")}:v1`;
  await succeeds(t, "oras", "cp", "-r", "--from-oci-layout", `${file}:v1`, "--to-oci-layout", to);
});

t.test("regctl imports the file", toolOptions("regctl"), async (t) => {
  const { rig, file, digest } = await exported(t);
  const to = `ocidir://${rig.file("imported")}:v1`;
  await succeeds(t, "regctl", "image", "import", "--name", "v1", to, file);
  t.match(await succeeds(t, "regctl", "image", "digest", to), digest);
});

t.test("podman loads a file without signatures", toolOptions("podman"), async (t) => {
  const { file } = await exported(t, "--no-signatures");
  // It wants a short one.
  const folder = await mkdtemp(join(tmpdir(), "sluice-p-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const store = ["--storage-driver", "vfs", "--root", join(folder, "p"), "--runroot", folder];
  t.match(await succeeds(t, "podman", ...store, "load", "--input", file), IMAGE);
});
