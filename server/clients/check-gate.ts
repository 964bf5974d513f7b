import { RegistryError } from "../errors.ts";
import { ACCESS_LIMITS } from "../limits.ts";

/**
 * How many log-ins are checked at once. The rest wait in line for a while and are then told to come
 * again, so that a flood of wrong ones leaves processors and threads to the pulls.
 */
export class CheckGate {
  readonly #runningMax: number;
  readonly #queue: (() => void)[] = [];
  #running = 0;

  constructor(runningMax: number) {
    this.#runningMax = runningMax;
  }

  /** @throws RegistryError `overloaded` when the line is full, or was not served in time. */
  async run<T>(check: () => Promise<T>): Promise<T> {
    if (this.#running < this.#runningMax) {
      this.#running += 1;
    } else {
      await this.#wait();
    }
    try {
      return await check();
    } finally {
      this.#leave();
    }
  }

  /** The place goes from hand to hand: nobody who comes meanwhile is before those who wait. */
  #leave(): void {
    const next = this.#queue.shift();
    if (next === undefined) {
      this.#running -= 1;
    } else {
      next();
    }
  }

  #wait(): Promise<void> {
    if (this.#queue.length >= ACCESS_LIMITS.checkQueueMax) {
      return Promise.reject(overloaded());
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#queue.splice(this.#queue.indexOf(admit), 1);
      reject(overloaded());
    }, ACCESS_LIMITS.checkQueueTimeoutMs);
    const admit = (): void => {
      clearTimeout(timer);
      resolve();
    };
    this.#queue.push(admit);
    return promise;
  }
}

function overloaded(): RegistryError {
  return new RegistryError(
    "overloaded",
    "too many log-ins are being checked; try again in a moment",
    { retryAfterSeconds: 2 },
  );
}
