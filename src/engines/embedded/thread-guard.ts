/**
 * Keeps the process from ending a thread while that thread uses the SQLite driver.
 *
 * When a process exits, Node ends its threads first. If a thread is inside a call of the driver,
 * the call cannot return a value or an error, and the driver aborts the whole process (SIGABRT).
 * The thread therefore uses the driver only in `run`. In its `exit` event, the process waits until
 * every thread is outside `run`, and then keeps it outside.
 */
export class ThreadGuard {
  /** The state that both threads share. The starter passes it to the thread as `workerData`. */
  readonly shared: SharedArrayBuffer;
  readonly #state: Int32Array;

  constructor(shared = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#state = new Int32Array(shared);
  }

  /** Called by the thread: runs work that uses the driver. Never returns if the process exits. */
  run<T>(work: () => T): T {
    this.#enter();
    try {
      return work();
    } finally {
      this.#leave();
    }
  }

  /** Called by the thread: runs asynchronous work that uses the driver. */
  async runAsync<T>(work: () => Promise<T>): Promise<T> {
    this.#enter();
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  /** Called by the starter: waits until the thread is outside `run`, and keeps it outside. */
  shut(): void {
    Atomics.store(this.#state, shutFlag, 1);
    Atomics.wait(this.#state, busyFlag, 1, longestWait);
  }

  #enter(): void {
    Atomics.store(this.#state, busyFlag, 1);
    if (Atomics.load(this.#state, shutFlag) === 0) return;
    this.#leave();
    // This wait ends with the thread.
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
 * Maximum time in milliseconds that an exit waits for a thread. It is longer than the driver waits
 * for the lock of another process (10 s). The wait adds no time, because Node itself waits until a
 * call of the driver has ended.
 */
const longestWait = 15_000;

const guards = new Set<ThreadGuard>();

function shutAll(): void {
  for (const guard of guards) guard.shut();
}

/** Creates the guard of a new thread. Call `release` when the thread has ended. */
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
