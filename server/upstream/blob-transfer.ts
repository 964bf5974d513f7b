import { RegistryError } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Answer } from "./exchange.ts";
import { AttemptFailure } from "./failure.ts";
import { TransferWatch } from "./transfer-watch.ts";
import type { BlobBody, BlobSink } from "./upstream.ts";
import type { UpstreamLimits } from "./upstream-limits.ts";

export interface BlobTransferOptions {
  readonly name: string;
  /** What is transferred, for messages. */
  readonly subject: string;
  readonly endpoint: Endpoint;
  readonly sizeBytes: number | undefined;
  readonly offset: number;
  readonly limits: UpstreamLimits;
  readonly metrics: Metrics;
}

/** A blob on its way: from undici's parser straight into the sink, watched. */
export class BlobTransfer implements BlobBody {
  readonly sizeBytes: number | undefined;
  readonly offset: number;
  readonly url: string;
  readonly #answer: Answer;
  readonly #options: BlobTransferOptions;

  constructor(answer: Answer, options: BlobTransferOptions) {
    this.#answer = answer;
    this.#options = options;
    this.sizeBytes = options.sizeBytes;
    this.offset = options.offset;
    this.url = options.endpoint.url;
  }

  async pipe(sink: BlobSink): Promise<void> {
    const { limits, metrics, name } = this.#options;
    const answer = this.#answer;
    const watch = new TransferWatch(limits, (what) => {
      answer.abort(new AttemptFailure("timeout", what));
    });
    let seenBytes = 0;
    try {
      sink.start(() => {
        watch.resume();
        answer.resume();
      });
      await answer.consume((chunk) => {
        seenBytes += chunk.length;
        watch.received(chunk.length);
        if (seenBytes > limits.blobBytesMax) {
          throw new AttemptFailure("protocol", "it sent more than any blob may have");
        }
        if (sink.write(chunk)) {
          return true;
        }
        watch.pause();
        return false;
      });
    } catch (error) {
      throw this.#errorOf(error, seenBytes);
    } finally {
      watch.stop();
      metrics.upstreamBytes(name, seenBytes);
    }
  }

  abort(reason: Error): void {
    this.#answer.abort(reason);
  }

  /** What the sink threw, or `abort` was called with, goes back as it is. */
  #errorOf(error: unknown, seenBytes: number): unknown {
    if (!(error instanceof AttemptFailure)) {
      return error;
    }
    const { endpoint, metrics, name, offset, subject } = this.#options;
    endpoint.failed(error);
    metrics.upstreamError(name, error.reason);
    return new RegistryError(
      "upstream-unavailable",
      `${name} broke off the transfer of ${subject} after ${offset + seenBytes} bytes: ` +
        error.message,
      { cause: error },
    );
  }
}
