import { Worker } from 'node:worker_threads';

/*
 * Keeps the process from ending a thread while that thread uses the SQLite driver.
 *
 * When a process exits, Node ends its threads first. If a thread is inside a call of the driver,
 * the call cannot return a value or an error, and the driver aborts the whole process (SIGABRT).
 * The thread therefore uses the driver only in `run`. In its `exit` event, the process waits until
 * every thread is outside `run`, and then keeps it outside.
 *
 * Both threads share two numbers: whether the thread is inside `run`, and whether it must stay
 * outside.
 */
const busyFlag = 0;
const shutFlag = 1;

/**
 * Maximum time in milliseconds that an exit waits for a thread. It is longer than the driver waits
 * for the lock of another process (10 s). The wait adds no time, because Node itself waits until a
 * call of the driver has ended.
 */
const longestWait = 15_000;

const guards = new Set<Int32Array>();

function shutAll(): void {
  for (const guard of guards) {
    Atomics.store(guard, shutFlag, 1);
    Atomics.wait(guard, busyFlag, 1, longestWait);
  }
}

/** What a thread gets as `workerData`: the values that its starter gave, and its guard. */
export type Guarded<T> = T & { guard: Int32Array };

/**
 * Starts a thread with a guard. The thread does not inherit the flags of the process, because a
 * loader or an --input-type of the app must not apply to its file.
 */
export function startThread(file: URL, data: object): Worker {
  const guard = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
  const thread = new Worker(file, { workerData: { ...data, guard }, execArgv: [] });
  if (guards.size === 0) process.on('exit', shutAll);
  guards.add(guard);
  thread.once('exit', () => {
    guards.delete(guard);
    if (guards.size === 0) process.off('exit', shutAll);
  });
  return thread;
}

/** The functions in which a thread uses the driver. */
export type ThreadGuard = ReturnType<typeof createGuard>;

/** Creates the functions in which a thread uses the driver. */
export function createGuard(guard: Int32Array) {
  const enter = (): void => {
    Atomics.store(guard, busyFlag, 1);
    if (Atomics.load(guard, shutFlag) === 0) return;
    leave();
    // This wait ends with the thread.
    Atomics.wait(guard, shutFlag, 1);
  };
  const leave = (): void => {
    Atomics.store(guard, busyFlag, 0);
    Atomics.notify(guard, busyFlag);
  };
  return {
    /** Runs work that uses the driver. Never returns if the process exits. */
    run<T>(work: () => T): T {
      enter();
      try {
        return work();
      } finally {
        leave();
      }
    },

    /** Runs asynchronous work that uses the driver. */
    async runAsync<T>(work: () => Promise<T>): Promise<T> {
      enter();
      try {
        return await work();
      } finally {
        leave();
      }
    },
  };
}
