import type { Digest } from "../../storage/digest.ts";
import { RegistryError } from "../errors.ts";
import { FILL_LIMITS } from "../limits.ts";
import type { BlobBody, Upstream } from "../upstream/upstream.ts";
import type { Source } from "./source.ts";
import { nameOf } from "./source.ts";

/** Where the bytes come from: the registry, or what stands in front of it. */
export interface BlobOrigin extends Pick<Upstream, "openBlob"> {
  /** They came from our own bucket, or some of them did. */
  readonly isOwn?: boolean;
}

export interface DownloadSink {
  /** Bytes taken so far: where to go on after a break. */
  received(): number;
  /** Undefined when nobody knows; then only the end of the body ends it. */
  sizeBytes(): number | undefined;
  /** False asks for a pause until `resume`. */
  take(chunk: Buffer): boolean;
}

/** A blob coming from its upstream, taken up again with Range where it broke. */
export class Download {
  readonly #source: Source;
  readonly #digest: Digest;
  readonly #origin: BlobOrigin;
  readonly #abort = new AbortController();
  #body: BlobBody | undefined;
  #resumeBody: (() => void) | undefined;

  constructor(source: Source, digest: Digest, origin: BlobOrigin) {
    this.#source = source;
    this.#digest = digest;
    this.#origin = origin;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Resolves with the announced size once the headers are there. */
  async open(): Promise<number | undefined> {
    this.#body = await this.#openBody(0, new Set());
    return this.#body.sizeBytes;
  }

  /** Resolves when the body, or all bodies after breaks, have come to their end. */
  async run(sink: DownloadSink): Promise<void> {
    const avoid = new Set<string>();
    for (let breaks = 0; ; breaks += 1) {
      const before = sink.received();
      try {
        await this.#pipe(sink);
        if (sink.received() >= (sink.sizeBytes() ?? 0)) {
          return;
        }
      } catch (error) {
        if (!this.#mayResume(error)) {
          throw error;
        }
      }
      const isStuck = sink.received() === before && breaks > 0;
      if (isStuck || breaks >= FILL_LIMITS.resumesMax) {
        throw this.#brokenOff(sink.received());
      }
      avoid.add(this.#body?.url ?? "");
      this.#body = await this.#openBody(sink.received(), avoid);
    }
  }

  /** After a `take` that answered false. */
  resume(): void {
    this.#resumeBody?.();
  }

  abort(reason: Error): void {
    this.#abort.abort(reason);
    this.#body?.abort(reason);
  }

  #openBody(offset: number, avoid: ReadonlySet<string>): Promise<BlobBody> {
    const { repository } = this.#source;
    const { signal } = this.#abort;
    return this.#origin.openBlob({ repository, digest: this.#digest, offset, avoid, signal });
  }

  async #pipe(sink: DownloadSink): Promise<void> {
    const body = this.#body;
    if (body === undefined) {
      return;
    }
    // A registry that ignores Range starts again from the first byte: those are thrown away.
    let skip = sink.received() - body.offset;
    await body.pipe({
      start: (resume) => {
        this.#resumeBody = resume;
      },
      write: (chunk) => {
        const fresh = skip > 0 ? chunk.subarray(skip) : chunk;
        skip = Math.max(0, skip - chunk.byteLength);
        return fresh.byteLength === 0 || sink.take(fresh);
      },
    });
  }

  #mayResume(error: unknown): boolean {
    const isBroken = error instanceof RegistryError && error.code === "upstream-unavailable";
    return isBroken && !this.#abort.signal.aborted;
  }

  #brokenOff(received: number): RegistryError {
    const what = `${this.#digest} from ${nameOf(this.#source)}`;
    return new RegistryError(
      "upstream-unavailable",
      `the transfer of ${what} broke off at byte ${received} again and again`,
      { retryAfterSeconds: 2 },
    );
  }
}
