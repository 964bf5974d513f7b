import type { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import type { Digest } from "./digest.ts";
import { algorithmOf, hexOf } from "./digest.ts";
import { StorageError } from "./errors.ts";
import { isNotImplemented } from "./s3-errors.ts";
import { S3_LIMITS } from "./s3-limits.ts";
import type { S3Objects } from "./s3-objects.ts";

export interface SendParts {
  readonly digest: Digest;
  readonly partBytes: number;
  /** When it is known before the end. */
  readonly sizeBytes: number | undefined;
  /** Objects of bytes; destroyed when a part fails. */
  readonly source: Readable;
  readonly signal: AbortSignal;
}

/**
 * Creates objects, never replacing one: `If-None-Match: *` makes the first writer the only one.
 *
 * What cannot do that, or does not know the checksum, says 501, and is from then on asked without
 * both. About checksums, see s3-client.ts.
 */
export class S3Sender {
  readonly #objects: S3Objects;
  #isPlain = false;

  constructor(objects: S3Objects) {
    this.#objects = objects;
  }

  /** @throws the SDK's errors. */
  async whole(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const mayCheck = algorithmOf(digest) === "sha256" && !this.#isPlain;
    const command = new PutObjectCommand({
      ...this.#objects.at(digest),
      Body: bytes,
      ContentLength: bytes.byteLength,
      ...(mayCheck ? { ChecksumSHA256: Buffer.from(hexOf(digest), "hex").toString("base64") } : {}),
      ...this.#condition(),
    });
    await this.#put(command, signal);
  }

  /** In parts; ends what it has begun when that fails. @throws the SDK's errors. */
  async parts(options: SendParts): Promise<void> {
    const { digest, partBytes, sizeBytes, source, signal } = options;
    const failed = new AbortController();
    const upload = new Upload({
      client: this.#clientFor(AbortSignal.any([signal, failed.signal]), (error) => {
        // The library would go on with the other parts, to the end of the blob.
        failed.abort(error);
        source.destroy(error instanceof Error ? error : new Error(String(error)));
      }),
      params: {
        ...this.#objects.at(digest),
        Body: source,
        ...(sizeBytes === undefined ? {} : { ContentLength: sizeBytes }),
        ...this.#condition(),
      },
      partSize: partBytes,
      queueSize: S3_LIMITS.partsAtOnce,
    });
    try {
      await upload.done();
    } catch (error) {
      // What failed first, rather than what it made fail.
      throw failed.signal.aborted ? failed.signal.reason : error;
    } finally {
      source.destroy();
    }
  }

  #condition(): { IfNoneMatch?: string } {
    return this.#isPlain ? {} : { IfNoneMatch: "*" };
  }

  /** The client as the library is to see it: bound to a signal, and it tells when a part failed. */
  #clientFor(signal: AbortSignal, onFailed: (error: unknown) => void): S3Client {
    const send = async (command: unknown): Promise<unknown> => {
      if (command instanceof AbortMultipartUploadCommand) {
        // Whoever closes the store waits for it; what is not heard of is swept away another day.
        const abortSignal = AbortSignal.timeout(S3_LIMITS.abortTimeoutMs);
        return await this.#objects.client.send(command, { abortSignal });
      }
      try {
        return await this.#step(command, signal);
      } catch (error) {
        onFailed(error);
        throw error;
      }
    };
    return Object.create(this.#objects.client, { send: { value: send } });
  }

  async #step(command: unknown, signal: AbortSignal): Promise<unknown> {
    const { client } = this.#objects;
    if (command instanceof CreateMultipartUploadCommand) {
      // Ended in the middle, it would have begun something that nobody knows the name of.
      return await client.send(command, { abortSignal: laterThan(signal) });
    }
    if (command instanceof UploadPartCommand) {
      return mustHaveEtag(await client.send(command, { abortSignal: signal }));
    }
    if (command instanceof PutObjectCommand) {
      return await this.#put(command, signal);
    }
    if (command instanceof CompleteMultipartUploadCommand) {
      return await this.#complete(command, signal);
    }
    throw new TypeError("lib-storage sends a command that is not known here");
  }

  async #put(command: PutObjectCommand, signal: AbortSignal): Promise<unknown> {
    const options = { abortSignal: signal };
    try {
      return mustHaveEtag(await this.#objects.client.send(command, options));
    } catch (error) {
      const { IfNoneMatch, ChecksumSHA256: _, ...plain } = command.input;
      if (IfNoneMatch === undefined || !isNotImplemented(error)) {
        throw error;
      }
      this.#isPlain = true;
      return mustHaveEtag(await this.#objects.client.send(new PutObjectCommand(plain), options));
    }
  }

  async #complete(command: CompleteMultipartUploadCommand, signal: AbortSignal): Promise<unknown> {
    const options = { abortSignal: signal };
    try {
      return await this.#objects.client.send(command, options);
    } catch (error) {
      const { IfNoneMatch, ...plain } = command.input;
      if (IfNoneMatch === undefined || !isNotImplemented(error)) {
        throw error;
      }
      this.#isPlain = true;
      return await this.#objects.client.send(new CompleteMultipartUploadCommand(plain), options);
    }
  }
}

/** Aborted some time after `signal` is. */
function laterThan(signal: AbortSignal): AbortSignal {
  const late = new AbortController();
  const wait = (): void => {
    setTimeout(() => late.abort(signal.reason), S3_LIMITS.abortTimeoutMs).unref();
  };
  signal.addEventListener("abort", wait, { once: true });
  return signal.aborted ? signal : late.signal;
}

/** A 200 may carry an error in its body, which the SDK does not read here; it has no ETag then. */
function mustHaveEtag<T extends { readonly ETag?: string | undefined }>(output: T): T {
  if (output.ETag === undefined) {
    const message = "the bucket said that it took the bytes, and did not say under which ETag";
    throw new StorageError("store-unavailable", message);
  }
  return output;
}
