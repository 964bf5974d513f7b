import t from "tap";
import type { BlobSink } from "../../server/upstream/upstream.ts";
import { bytesOf, bytesOfSize, metricOf, openFake, openUpstream } from "../support/upstream-rig.ts";

const REPOSITORY = "team/app";

t.test("a transfer that breaks is an outage, not a short blob", async (t) => {
  const fake = await openFake(t);
  const { upstream, metrics } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(100_000));
  for (const fault of [
    { truncateAfterBytes: 50_000 },
    { truncateAfterBytes: 50_000, chunked: true },
  ]) {
    fake.on({ digest }, fault, 1);
    const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
    await t.rejects(bytesOf(body), {
      code: "upstream-unavailable",
      message: /team\.example broke off the transfer of team\/app@sha256:\w+ after \d+ bytes/,
    });
  }
  const resets = 'sluice_upstream_errors_total{upstream="team.example",reason="reset"}';
  t.equal(await metricOf(metrics, resets), 2);
});

t.test("a transfer that stalls is given up", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], { limits: { bodyIdleTimeoutMs: 60 } });
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(100_000));
  fake.on({ digest }, { stallAfterBytes: 10 });
  const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  await t.rejects(bytesOf(body), { code: "upstream-unavailable", message: /sent nothing/ });
});

t.test("a transfer that drips is given up although it never stalls", async (t) => {
  const fake = await openFake(t);
  const limits = { bodyIdleTimeoutMs: 10_000, rateWindowMs: 120, rateMinBytesPerSecond: 100_000 };
  const { upstream } = openUpstream(t, [fake.url], { limits });
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(100_000));
  fake.on({ digest }, { bytesPerSecond: 1000 });
  const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  await t.rejects(bytesOf(body), { code: "upstream-unavailable", message: /too slowly/ });
});

t.test("the time that a reader takes is not the registry's", async (t) => {
  const fake = await openFake(t);
  const limits = { bodyIdleTimeoutMs: 30, rateWindowMs: 30 };
  const { upstream } = openUpstream(t, [fake.url], { limits });
  const blob = bytesOfSize(4_000_000);
  const digest = fake.addBlob(REPOSITORY, blob);
  const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  const chunks: Buffer[] = [];
  let resume = (): void => undefined;
  let isPaused = false;
  await body.pipe({
    start: (callback) => {
      resume = callback;
    },
    write: (chunk) => {
      t.notOk(isPaused, "nothing comes during a pause");
      chunks.push(Buffer.from(chunk));
      if (chunks.length !== 3) {
        return true;
      }
      isPaused = true;
      setTimeout(() => {
        isPaused = false;
        resume();
      }, 120);
      return false;
    },
  });
  t.ok(Buffer.concat(chunks).equals(blob));
});

t.test("a pause at every chunk loses nothing, resumed at once or later", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const blob = bytesOfSize(3_000_000);
  const digest = fake.addBlob(REPOSITORY, blob);
  const laters: ((resume: () => void) => void)[] = [
    (resume) => resume(),
    (resume) => queueMicrotask(resume),
    (resume) => setImmediate(resume),
  ];
  for (const chunked of [false, true]) {
    fake.on({ digest }, { chunked }, laters.length);
    for (const later of laters) {
      const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
      const chunks: Buffer[] = [];
      let resume = (): void => undefined;
      await body.pipe({
        start: (callback) => {
          resume = callback;
        },
        write: (chunk) => {
          chunks.push(Buffer.from(chunk));
          later(resume);
          return false;
        },
      });
      t.ok(Buffer.concat(chunks).equals(blob));
    }
  }
});

t.test("many transfers at once do not mix", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const blobs = Array.from({ length: 12 }, (_, index) => bytesOfSize(700_000, index + 7));
  const digests = blobs.map((blob) => fake.addBlob(REPOSITORY, blob));
  const bodies = await Promise.all(
    digests.map(async (digest) =>
      bytesOf(await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 })),
    ),
  );
  for (const [index, bytes] of bodies.entries()) {
    t.ok(blobs[index]?.equals(bytes));
  }
});

t.test("what the sink throws ends the transfer and comes back", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(1_000_000));
  const thrown = new Error("the disk is full");
  const sink: BlobSink = {
    start: () => undefined,
    write: () => {
      throw thrown;
    },
  };
  const body = await upstream.openBlob({ repository: REPOSITORY, digest, offset: 0 });
  const error = await body.pipe(sink).catch((caught: unknown) => caught);
  t.equal(error, thrown);
  t.ok(await upstream.headBlob({ repository: REPOSITORY, digest }), "the upstream is still fine");
});

t.test("a transfer that is aborted ends, being piped or not", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url]);
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(5_000_000));
  const request = { repository: REPOSITORY, digest, offset: 0 };
  (await upstream.openBlob(request)).abort(new Error("not wanted"));

  const body = await upstream.openBlob(request);
  const piping = body.pipe({
    start: () => undefined,
    write: () => {
      body.abort(new Error("enough"));
      return true;
    },
  });
  await t.rejects(piping, { message: "enough" });
});

t.test("a size that no blob may have is refused before a byte of it", async (t) => {
  const fake = await openFake(t);
  const { upstream } = openUpstream(t, [fake.url], { limits: { blobBytesMax: 1000 } });
  const digest = fake.addBlob(REPOSITORY, bytesOfSize(1001));
  const request = { repository: REPOSITORY, digest, offset: 0 };
  await t.rejects(upstream.openBlob(request), { code: "upstream-invalid", message: /size/ });
  await t.rejects(upstream.headBlob(request), { code: "upstream-invalid" });
  fake.on({ digest }, { chunked: true }, 1);
  await t.rejects(bytesOf(await upstream.openBlob(request)), { code: "upstream-unavailable" });
});
