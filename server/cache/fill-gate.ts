import { RegistryError } from "../errors.ts";
import { FILL_LIMITS } from "../limits.ts";

interface Waiting {
  readonly host: string;
  readonly admit: () => void;
}

/**
 * How many downloads run at once: so many a host, so many in all; the rest wait in line for a
 * while and are then told to come again. What is already held never waits here.
 */
export class FillGate {
  readonly #running = new Map<string, number>();
  readonly #queue: Waiting[] = [];
  #total = 0;

  /**
   * @returns what gives the place back; call it once.
   * @throws RegistryError `overloaded` when the line is full, or was not served in time.
   */
  async enter(host: string, signal: AbortSignal): Promise<() => void> {
    if (!this.#hasRoom(host)) {
      await this.#wait(host, signal);
    } else {
      this.#take(host);
    }
    let isInside = true;
    return () => {
      if (isInside) {
        isInside = false;
        this.#leave(host);
      }
    };
  }

  #hasRoom(host: string): boolean {
    return (
      this.#total < FILL_LIMITS.totalMax && (this.#running.get(host) ?? 0) < FILL_LIMITS.perHostMax
    );
  }

  #take(host: string): void {
    this.#total += 1;
    this.#running.set(host, (this.#running.get(host) ?? 0) + 1);
  }

  #leave(host: string): void {
    this.#total -= 1;
    const left = (this.#running.get(host) ?? 1) - 1;
    if (left > 0) {
      this.#running.set(host, left);
    } else {
      this.#running.delete(host);
    }
    const next = this.#queue.findIndex((waiting) => this.#hasRoom(waiting.host));
    const [admitted] = next < 0 ? [] : this.#queue.splice(next, 1);
    if (admitted !== undefined) {
      this.#take(admitted.host);
      admitted.admit();
    }
  }

  #wait(host: string, signal: AbortSignal): Promise<void> {
    if (this.#queue.length >= FILL_LIMITS.queueMax) {
      return Promise.reject(overloaded(host));
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = (error: Error): void => {
      const at = this.#queue.indexOf(waiting);
      if (at >= 0) {
        this.#queue.splice(at, 1);
        reject(error);
      }
    };
    const onAbort = (): void => giveUp(signal.reason as Error);
    const timer = setTimeout(() => giveUp(overloaded(host)), FILL_LIMITS.queueTimeoutMs);
    const waiting: Waiting = { host, admit: resolve };
    this.#queue.push(waiting);
    signal.addEventListener("abort", onAbort, { once: true });
    return promise.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    });
  }
}

function overloaded(host: string): RegistryError {
  return new RegistryError(
    "overloaded",
    `too many downloads from ${host} are under way; try again in a moment`,
    { retryAfterSeconds: 2 },
  );
}
