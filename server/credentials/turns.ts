/** Lets so many go at once; the others wait in the order in which they came. */
export class Turns {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(max: number) {
    this.#free = max;
  }

  /** Dispose of it to let the next one go. Undefined when `signal` was aborted first. */
  take(signal: AbortSignal): Promise<Disposable | undefined> {
    if (signal.aborted) {
      return Promise.resolve(undefined);
    }
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve(this.#turn());
    }
    const { promise, resolve } = Promise.withResolvers<Disposable | undefined>();
    const go = (): void => {
      signal.removeEventListener("abort", leave);
      resolve(this.#turn());
    };
    const leave = (): void => {
      this.#waiting.delete(go);
      resolve(undefined);
    };
    this.#waiting.add(go);
    signal.addEventListener("abort", leave, { once: true });
    return promise;
  }

  #turn(): Disposable {
    return {
      [Symbol.dispose]: () => {
        const [next] = this.#waiting;
        if (next === undefined) {
          this.#free += 1;
          return;
        }
        this.#waiting.delete(next);
        next();
      },
    };
  }
}
