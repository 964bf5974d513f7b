interface Task {
  readonly at: number;
  readonly order: number;
  readonly run: (at: number) => void;
}

const isBefore = (a: Task, b: Task): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** What is to happen when, in simulated seconds: a heap. */
export class Agenda {
  readonly #heap: Task[] = [];
  #order = 0;

  /** Infinity when nothing is left. */
  get nextAt(): number {
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  add(at: number, run: (at: number) => void): void {
    this.#order += 1;
    const task = { at, order: this.#order, run };
    let place = this.#heap.push(task) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = this.#heap[parent];
      if (above === undefined || !isBefore(task, above)) {
        break;
      }
      this.#heap[place] = above;
      place = parent;
    }
    this.#heap[place] = task;
  }

  /** Runs what is due, and what that makes due. */
  runUntil(end: number): void {
    while (this.nextAt <= end) {
      const task = this.#pop();
      task?.run(task.at);
    }
  }

  #pop(): Task | undefined {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (last !== undefined && this.#heap.length > 0) {
      this.#sink(last);
    }
    return first;
  }

  #sink(task: Task): void {
    let place = 0;
    for (;;) {
      const right = this.#heap[2 * place + 2];
      let child = 2 * place + 1;
      let below = this.#heap[child];
      if (below !== undefined && right !== undefined && isBefore(right, below)) {
        child += 1;
        below = right;
      }
      if (below === undefined || !isBefore(below, task)) {
        break;
      }
      this.#heap[place] = below;
      place = child;
    }
    this.#heap[place] = task;
  }
}
