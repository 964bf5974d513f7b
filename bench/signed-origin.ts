/**
 * An upstream with signed images, in a process of its own. It makes keys, certificates and logs,
 * and signs whatever it is told to before anything is measured.
 */
import { randomBytes } from "node:crypto";
import type { FakeUpstream } from "../test/support/fake-upstream.ts";
import { startFakeUpstream } from "../test/support/fake-upstream.ts";
import { IDENTITY, ISSUER } from "../test/support/policies.ts";
import type { PrivateSigstore } from "../test/support/private-sigstore.ts";
import { createPrivateSigstore } from "../test/support/private-sigstore.ts";
import { SigningRows } from "../test/support/sign-rows.ts";
import type { KeySigner } from "../test/support/sign-with.ts";
import { keyless, keySigner } from "../test/support/sign-with.ts";
import type { Sign } from "../test/support/signed-images.ts";
import { addSignedImage } from "../test/support/signed-images.ts";
import { REPOSITORY } from "./peers.ts";
import type { Format, MadeImage, OriginJob, SignedOrigin } from "./signed-upstream.ts";
import { repositoryOf } from "./signed-upstream.ts";

class Origin {
  readonly #upstream: FakeUpstream;
  readonly #rows: SigningRows;
  readonly #key: KeySigner;
  #images = 0;

  constructor(upstream: FakeUpstream, sigstore: PrivateSigstore, key: KeySigner) {
    this.#upstream = upstream;
    this.#rows = new SigningRows(sigstore);
    this.#key = key;
  }

  async perform(job: OriginJob): Promise<readonly MadeImage[]> {
    if (job.kind === "blob") {
      return [{ tag: "", digest: this.#addBlob(job.sizeBytes, job.isJson) }];
    }
    const { format, count, platforms = [] } = job;
    const repository = repositoryOf(format);
    const signatures = [this.#signFor(format)];
    const images: MadeImage[] = [];
    for (let at = 0; at < count; at += 1) {
      this.#images += 1;
      const options = { repository, tag: `v${this.#images}`, platforms, signatures };
      const { tag, digest } = await addSignedImage(this.#upstream, options);
      images.push({ tag, digest });
    }
    return images;
  }

  #addBlob(sizeBytes: number, isJson: boolean): string {
    const text = (): Buffer =>
      Buffer.from(
        JSON.stringify({ text: randomBytes(sizeBytes).toString("hex", 0, sizeBytes / 2) }),
      );
    return this.#upstream.addBlob(REPOSITORY, isJson ? text() : randomBytes(sizeBytes));
  }

  #signFor(format: Format): Sign {
    const by = keyless(IDENTITY, ISSUER);
    switch (format) {
      case "bundle":
        return this.#rows.bundle({ by, timestamp: true });
      case "legacy":
        return this.#rows.signatureTag([{ by }]);
      case "key":
        return this.#rows.bundle({ by: this.#key });
    }
  }
}

const upstream = await startFakeUpstream();
const sigstore = await createPrivateSigstore();
const key = keySigner();
const origin = new Origin(upstream, sigstore, key);
process.on("message", (job: OriginJob) => {
  origin.perform(job).then(
    (images) => process.send?.(images),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({
  url: upstream.url,
  identity: IDENTITY,
  issuer: ISSUER,
  trustedRootJson: sigstore.trustedRootJson,
  publicKeyPem: key.publicKeyPem,
} satisfies SignedOrigin);
