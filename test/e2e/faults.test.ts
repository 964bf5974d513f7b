import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { get } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import t from "tap";
import type { Digest } from "../../storage/digest.ts";
import { hexOf } from "../../storage/digest.ts";
import type { FakeUpstream } from "../support/fake-upstream.ts";
import { startFakeUpstream } from "../support/fake-upstream.ts";
import { Daemon } from "../support/processes.ts";
import { fetchBytes, open } from "../support/requests.ts";
import { SluiceProcess } from "../support/sluice-process.ts";
import type { TestProxy } from "../support/start-proxy.ts";
import { startProxy } from "../support/start-proxy.ts";
import { toolOptions } from "../support/tools.ts";

const MIB = 1024 * 1024;
const REPOSITORY = "app/web";
/** Mounting takes root and the right to; many containers have neither. */
const withTmpfs = mayMount() ? {} : { skip: "a tmpfs cannot be mounted here" };
/** Tracing takes the tool and the right to. */
const withStrace = mayTrace();

function mayMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), "sluice-mount-"));
  const isMounted = succeeds("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder);
  if (isMounted) {
    succeeds("umount", "-l", folder);
  }
  rmSync(folder, { recursive: true, force: true });
  return isMounted;
}

function mayTrace(): { skip?: string } {
  const strace = toolOptions("strace");
  if (strace.skip !== undefined || succeeds("strace", "-o", "/dev/null", "true")) {
    return strace;
  }
  return { skip: "strace may not trace here" };
}

function succeeds(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function rig(t: Test): Promise<{ upstream: FakeUpstream; proxy: TestProxy }> {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const proxy = await startProxy(t, { upstreams: [{ urls: [upstream.url] }] });
  return { upstream, proxy };
}

function blobPath(digest: string, repository: string = REPOSITORY): string {
  return `/v2/${repository}/blobs/${digest}`;
}

/** All that a connection answers, and how it ended. */
function talk(url: string, text: string): Promise<{ answer: Buffer; isClean: boolean }> {
  const { hostname, port } = new URL(url);
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", () => undefined);
    socket.on("close", (hadError) => {
      resolve({ answer: Buffer.concat(chunks), isClean: !hadError });
    });
  });
}

function fileOf(dataPath: string, digest: Digest): string {
  const hex = hexOf(digest);
  return join(dataPath, "v1", "blobs", "sha256", hex.slice(0, 2), hex);
}

t.test("an empty file under a blob's name is not taken for the blob", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(100_000);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const file = fileOf(proxy.dataPath, digest);
  mkdirSync(join(file, ".."), { recursive: true });
  closeSync(openSync(file, "w"));
  t.ok(bytes.equals(await fetchBytes(proxy.url + blobPath(digest))));
  await proxy.metricBecomes('sluice_cache_corruptions_total{store="disk"}', 1);
  await proxy.metricBecomes("sluice_fills_in_flight", 0);
  t.ok(bytes.equals(await fetchBytes(proxy.url + blobPath(digest))));
  t.equal(upstream.getsOf(digest), 1, "what was fetched took its place");
});

t.test("the blob that has no bytes is pulled like any other", async (t) => {
  const { upstream, proxy } = await rig(t);
  const digest = upstream.addBlob(REPOSITORY, Buffer.alloc(0));
  for (const _ of ["miss", "hit"]) {
    const response = await fetch(proxy.url + blobPath(digest));
    t.equal(response.status, 200);
    t.equal(response.headers.get("content-length"), "0");
    t.equal((await response.arrayBuffer()).byteLength, 0);
    await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 1);
  }
  t.equal(upstream.getsOf(digest), 1);
});

t.test("blobs that are asked for in one go on a connection are all answered", async (t) => {
  const { upstream, proxy } = await rig(t);
  const blobs = [10, MIB, 200_000, 3 * MIB].map((size) => randomBytes(size));
  const digests = blobs.map((bytes) => upstream.addBlob(REPOSITORY, bytes));
  const texts = digests.map(
    (digest, at) =>
      `GET ${blobPath(digest)} HTTP/1.1\r\nHost: a\r\n` +
      `${at === digests.length - 1 ? "Connection: close\r\n" : ""}\r\n`,
  );
  for (const kind of ["miss", "hit"]) {
    const { answer } = await talk(proxy.url, texts.join(""));
    let rest = answer;
    for (const bytes of blobs) {
      const body = rest.indexOf("\r\n\r\n") + 4;
      t.match(rest.subarray(0, body).toString(), /^HTTP\/1\.1 200 /, kind);
      t.ok(bytes.equals(rest.subarray(body, body + bytes.length)), kind);
      rest = rest.subarray(body + bytes.length);
    }
    t.equal(rest.length, 0);
  }
});

t.test("clients that leave with requests in line leave nothing behind", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(2 * MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const stalled = upstream.on({ digest }, { stallAfterBytes: MIB });
  const { hostname, port } = new URL(proxy.url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET ${blobPath(digest)} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(20));
  await once(socket, "data");
  socket.destroy();
  await proxy.metricBecomes("sluice_fill_readers", 0);
  stalled.release();
  t.ok(bytes.equals(await fetchBytes(proxy.url + blobPath(digest))));
});

t.test(
  "an HTTP/1.0 client sees a broken connection where there is no length to miss",
  async (t) => {
    const { upstream, proxy } = await rig(t);
    const bytes = randomBytes(MIB);
    const digest = upstream.addBlob(REPOSITORY, bytes);
    upstream.on({ digest }, { chunked: true, body: bytes.subarray(0, MIB - 1) });
    const request = `GET ${blobPath(digest)} HTTP/1.0\r\nHost: a\r\n\r\n`;
    const { answer, isClean } = await talk(proxy.url, request);
    t.match(answer.subarray(0, 100).toString(), /^HTTP\/1\.1 200 /);
    t.equal(isClean, false);
  },
);

t.test("one registry's wrong bytes say nothing about another registry", async (t) => {
  const [liar, honest] = [await startFakeUpstream(), await startFakeUpstream()];
  t.teardown(() => Promise.all([liar.close(), honest.close()]));
  const proxy = await startProxy(t, {
    upstreams: [
      { name: "liar.example", urls: [liar.url] },
      { name: "honest.example", urls: [honest.url] },
    ],
  });
  const bytes = randomBytes(100_000);
  const digest = honest.addBlob(REPOSITORY, bytes);
  liar.addBlob(REPOSITORY, bytes);
  liar.on({ digest }, { body: randomBytes(100_000) });
  for (let pull = 0; pull < 2; pull += 1) {
    await t.rejects(fetchBytes(`${proxy.url}/v2/liar.example/${REPOSITORY}/blobs/${digest}`));
  }
  const url = `${proxy.url}/v2/honest.example/${REPOSITORY}/blobs/${digest}`;
  t.ok(bytes.equals(await fetchBytes(url)));
});

t.test("a wrong length in the answer to HEAD spoils no download", async (t) => {
  const { upstream, proxy } = await rig(t);
  const bytes = randomBytes(100_000);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  upstream.on({ method: "HEAD", digest }, { headers: { "content-length": "0" } });
  const head = await fetch(proxy.url + blobPath(digest), { method: "HEAD" });
  t.equal(head.status, 200);
  t.ok(bytes.equals(await fetchBytes(proxy.url + blobPath(digest))));
});

t.test("a database that is damaged inside is made anew, and nothing else is lost", async (t) => {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const dataPath = mkdtempSync(join(tmpdir(), "sluice-test-"));
  t.teardown(() => rmSync(dataPath, { recursive: true, force: true }));
  const options = { upstreams: [{ urls: [upstream.url] }], dataPath };
  const bytes = randomBytes(100_000);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const first = await startProxy(t, options);
  t.ok(bytes.equals(await fetchBytes(first.url + blobPath(digest))));
  await first.metricBecomes('sluice_cache_blobs{store="disk"}', 1);
  await first.app[Symbol.asyncDispose]();
  // The header and the schema stay as they are: only the pages of the tables are damaged.
  const database = join(dataPath, "v1", "metadata.sqlite");
  const { size } = statSync(database);
  const handle = openSync(database, "r+");
  writeSync(handle, Buffer.alloc(size - 4096, 0xff), 0, size - 4096, 4096);
  closeSync(handle);

  const second = await startProxy(t, options);
  t.ok(bytes.equals(await fetchBytes(second.url + blobPath(digest))));
  t.equal(upstream.getsOf(digest), 1, "the blob is still held");
});

t.test("room is given back at the commit, not when the last reader has left", async (t) => {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const proxy = await startProxy(t, { upstreams: [{ urls: [upstream.url] }], maxBytes: 48 * MIB });
  const slow = randomBytes(32 * MIB);
  const slowDigest = upstream.addBlob(REPOSITORY, slow);
  const reader = await open(proxy.url + blobPath(slowDigest)); // it reads nothing more
  await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 1);
  const digest = upstream.addBlob(REPOSITORY, randomBytes(5 * MIB));
  await fetchBytes(proxy.url + blobPath(digest));
  await proxy.metricBecomes('sluice_cache_blobs{store="disk"}', 2);
  t.equal(await proxy.metric('sluice_cache_evictions_total{store="disk"}'), 0);
  reader.destroy();
});

t.test("a disk that is full in the middle of a blob costs no pull", withTmpfs, async (t) => {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const dataPath = mkdtempSync(join(tmpdir(), "sluice-full-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=6m", "tmpfs", dataPath]);
  t.teardown(() => {
    execFileSync("umount", ["-l", dataPath]);
    rmSync(dataPath, { recursive: true, force: true });
  });
  const proxy = await startProxy(t, { upstreams: [{ urls: [upstream.url] }], dataPath });
  const bytes = randomBytes(24 * MIB);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const stalled = upstream.on({ digest }, { stallAfterBytes: 20 * MIB }, 1);
  const url = proxy.url + blobPath(digest);
  const first = await open(url);
  const chunks: Buffer[] = [];
  let length = 0;
  first.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
  });
  while (length < 16 * MIB) {
    await once(first, "data");
  }
  const late = [
    fetchBytes(url),
    fetchBytes(url, { range: `bytes=${10 * MIB}-` }),
    fetchBytes(url, { range: `bytes=${23 * MIB}-` }),
  ];
  await Promise.all(late).then(([whole, middle, end]) => {
    t.ok(whole !== undefined && bytes.equals(whole));
    t.ok(middle !== undefined && bytes.subarray(10 * MIB).equals(middle));
    t.ok(end !== undefined && bytes.subarray(23 * MIB).equals(end));
  });
  const ended = once(first, "end");
  stalled.release();
  await ended;
  t.ok(bytes.equals(Buffer.concat(chunks)));
  await proxy.metricBecomes("sluice_fills_in_flight", 0);
  while (readdirSync(join(dataPath, "v1", "ingest")).length > 0) {
    await proxy.metric("sluice_fills_in_flight"); // no half of it is left, in a moment
  }
  const small = randomBytes(MIB);
  const smallDigest = upstream.addBlob(REPOSITORY, small);
  t.ok(small.equals(await fetchBytes(proxy.url + blobPath(smallDigest))));
  await proxy.metricBecomes("sluice_fills_in_flight", 0);
  t.equal(statSync(fileOf(dataPath, smallDigest)).size, MIB, "and storing goes on");
});

t.test("a held blob that cannot be read is fetched again", withStrace, async (t) => {
  const upstream = await startFakeUpstream();
  t.teardown(() => upstream.close());
  const folder = t.testdir();
  const config = { upstreams: { "team.example": { url: upstream.url } } };
  await using sluice = await SluiceProcess.start({ config, folder });
  const bytes = randomBytes(300_000);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  const url = `${sluice.registry}/v2/team.example/${REPOSITORY}/blobs/${digest}`;
  t.ok(bytes.equals(await fetchBytes(url)));
  while ((await sluice.metric("sluice_cache_blobs")) < 1) {
    // until it is committed; each look is a request of its own
  }
  const file = fileOf(join(folder, "data"), digest);
  await using strace = new Daemon("strace", [
    ...["-f", "-o", "/dev/null", "-p", String(sluice.pid), "-P", file],
    ...["-e", "trace=pread64", "-e", "inject=pread64:error=EIO"],
  ]);
  await strace.line(/attached/);
  t.ok(bytes.equals(await fetchBytes(url)));
  t.equal(upstream.getsOf(digest), 2);
});

t.test("clients that leave while they wait in line do not keep others out of it", async (t) => {
  const { upstream, proxy } = await rig(t);
  const hung = upstream.on({ path: /hung/ }, { hang: true });
  const digests = Array.from({ length: 40 }, () => upstream.addBlob("hung/web", randomBytes(1000)));
  const requests = digests.map((digest) => {
    const request = get(`${proxy.url}${blobPath(digest, "hung/web")}`, { agent: false });
    request.on("error", () => undefined);
    return request;
  });
  await proxy.metricBecomes("sluice_fills_in_flight", 40);
  t.equal(upstream.inFlight, 16, "so many a host");
  for (const request of requests) {
    request.destroy();
  }
  await proxy.metricBecomes("sluice_fills_in_flight", 16);
  hung.release();
  await proxy.metricBecomes("sluice_fills_in_flight", 0);
  const bytes = randomBytes(1000);
  const digest = upstream.addBlob(REPOSITORY, bytes);
  t.ok(bytes.equals(await fetchBytes(proxy.url + blobPath(digest))));
});
