import { setTimeout as wait } from 'node:timers/promises';

/*
 * Waits with a limit. Timers of the engines are in `engines/embedded/clock.ts`, and wake-ups in
 * `notifier.ts`.
 */

/** Waits for some milliseconds. The wait does not keep the process alive. */
export async function waitUnref(milliseconds: number): Promise<void> {
  await wait(milliseconds, undefined, { ref: false });
}

/** Number of steps that a wait consists of. */
const steps = 5;

/** How a wait affects the process. */
interface WaitOptions {
  /** Whether the wait keeps the process alive. Default `true`. */
  ref?: boolean;
}

/**
 * Calls a function after the given number of milliseconds. Returns a function that cancels the
 * wait.
 *
 * While the event loop is blocked, an answer may arrive that the process has not read yet. A wait
 * therefore consists of several steps, and the process reads between them. A blocked event loop
 * counts as one step only.
 */
export function afterWaiting(
  milliseconds: number,
  expired: () => void,
  { ref = true }: WaitOptions = {},
): () => void {
  let timer: NodeJS.Timeout | undefined;
  let last: NodeJS.Immediate | undefined;
  let left = steps;
  const step = (): void => {
    if (left === 0) {
      last = setImmediate(expired);
      return;
    }
    left -= 1;
    timer = setTimeout(step, milliseconds / steps);
    if (!ref) timer.unref();
  };
  step();
  return () => {
    clearTimeout(timer);
    clearImmediate(last);
  };
}

/**
 * Resolves to an answer that comes within the given number of milliseconds. Otherwise rejects with
 * the error that `late` returns, and ignores the answer.
 */
export async function inTime<T>(
  answer: Promise<T>,
  milliseconds: number,
  late: () => Error,
  options?: WaitOptions,
): Promise<T> {
  let stopWaiting = (): void => {};
  const expired = new Promise<never>((_resolve, reject) => {
    stopWaiting = afterWaiting(milliseconds, () => reject(late()), options);
  });
  try {
    return await Promise.race([answer, expired]);
  } finally {
    stopWaiting();
  }
}
