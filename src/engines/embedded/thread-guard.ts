/**
 * Keeps the process from ending a thread while that thread uses the SQLite driver.
 *
 * When a process exits, Node ends its threads first. If a thread is inside a call of the driver at
 * that moment, the call cannot return a value or an error, and the driver aborts the whole process
 * (SIGABRT). The thread therefore uses the driver only in `run`. The process waits in its `exit`
 * event until every thread is outside `run`, and keeps it outside.
 */
export class ThreadGuard {
  /** What the starter of the thread passes to it, as `workerData`. */
  readonly shared: SharedArrayBuffer;
  readonly #state: Int32Array;

  constructor(shared = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#state = new Int32Array(shared);
  }

  /** In the thread: does work that uses the driver. Never returns if the process exits. */
  run<T>(work: () => T): T {
    this.#enter();
    try {
      return work();
    } finally {
      this.#leave();
    }
  }

  /** The same for work that returns a promise. */
  async runAsync<T>(work: () => Promise<T>): Promise<T> {
    this.#enter();
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  /** In the starter: waits until the thread is outside `run`, and keeps it outside. */
  shut(): void {
    Atomics.store(this.#state, shutFlag, 1);
    Atomics.wait(this.#state, busyFlag, 1, longestWait);
  }

  #enter(): void {
    Atomics.store(this.#state, busyFlag, 1);
    if (Atomics.load(this.#state, shutFlag) === 0) return;
    this.#leave();
    // The end of the thread ends this wait.
    Atomics.wait(this.#state, shutFlag, 1);
  }

  #leave(): void {
    Atomics.store(this.#state, busyFlag, 0);
    Atomics.notify(this.#state, busyFlag);
  }
}

const busyFlag = 0;
const shutFlag = 1;

/**
 * Milliseconds that an exit waits for a thread. Longer than the driver waits for the lock of
 * another process (10 s). Without the wait the exit would take as long, because Node waits for a
 * call of the driver to end.
 */
const longestWait = 15_000;

const guards = new Set<ThreadGuard>();

function shutAll(): void {
  for (const guard of guards) guard.shut();
}

/**
 * Makes the guard of a thread that is about to start. `release` is to be called when the thread has
 * ended.
 */
export function guardThread(): { shared: SharedArrayBuffer; release(): void } {
  const guard = new ThreadGuard();
  if (guards.size === 0) process.on('exit', shutAll);
  guards.add(guard);
  return {
    shared: guard.shared,
    release() {
      guards.delete(guard);
      if (guards.size === 0) process.off('exit', shutAll);
    },
  };
}
