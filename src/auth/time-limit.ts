import { isReported, TaskflowError } from '../errors.js';
import { afterWaiting } from '../waiting.js';

/**
 * Calls with a signal that aborts after `seconds`, and then rejects with a `TimeoutError`. A later
 * result is ignored.
 */
export async function withTimeLimit<T>(
  seconds: number,
  call: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  let stopWaiting = (): void => {};
  const late = new Promise<never>((_resolve, reject) => {
    stopWaiting = afterWaiting(seconds * 1000, () => {
      const error = new Error(`no answer within ${seconds} s`);
      error.name = 'TimeoutError';
      controller.abort(error);
      reject(error);
    });
  });
  try {
    return await Promise.race([(async () => call(controller.signal))(), late]);
  } finally {
    stopWaiting();
  }
}

/** Seconds to wait for the store before a request is refused. */
const storeTimeout = 1;

/**
 * Asks the store. If it fails or is slow, the request gets 503, as if the store had said neither
 * yes nor no (OWASP ASVS 16.5.3).
 */
export async function askStore<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await withTimeLimit(storeTimeout, call);
  } catch (cause) {
    throw storeUnavailable(cause);
  }
}

/** Makes the error for a request whose session cannot be checked. */
export function storeUnavailable(cause?: unknown): TaskflowError {
  const detail = cause instanceof TaskflowError ? cause.detail : undefined;
  return new TaskflowError('STORE_UNAVAILABLE', 'the session store does not answer', {
    cause,
    detail,
    reported: isReported(cause),
  });
}
