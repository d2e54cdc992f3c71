import { isReported, TaskflowError } from '../errors.js';
import type { SharedStore } from '../store/shared-store.js';
import { inTime } from '../waiting.js';

/**
 * Calls a function with a signal that aborts after `seconds`. Then it rejects with a
 * `TimeoutError`, and ignores a later result. The limit does not keep the process alive: a call
 * that no request waits for must not delay its end.
 */
export async function withTimeLimit<T>(
  seconds: number,
  call: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const late = (): Error => {
    const error = new Error(`no answer within ${seconds} s`);
    error.name = 'TimeoutError';
    controller.abort(error);
    return error;
  };
  const answer = (async () => call(controller.signal))();
  return inTime(answer, seconds * 1000, late, { ref: false });
}

/** Seconds that a request waits for the store. */
const storeTimeout = 1;

/**
 * Calls the store. If the store fails or is slow, the request gets 503, because the answer is
 * unknown (OWASP ASVS 16.5.3). `writes` says whether a failed call may have changed the store.
 */
export async function askStore<T>(call: () => Promise<T>, writes = false): Promise<T> {
  try {
    return await withTimeLimit(storeTimeout, call);
  } catch (cause) {
    throw storeUnavailable(cause, writes);
  }
}

/**
 * Returns a store whose calls have the time limit of {@link askStore}. Two methods have no time
 * limit: no request waits for `append`, and `watch` lasts as long as its caller needs the changes.
 */
export function limitedStore(store: SharedStore): SharedStore {
  const claim = store.claim?.bind(store);
  return {
    get: (key) => askStore(() => store.get(key)),
    set: (...args) => askStore(() => store.set(...args), true),
    replace: (...args) => askStore(() => store.replace(...args), true),
    increment: (key, ttl) => askStore(() => store.increment(key, ttl), true),
    append: (log, entry, ttl) => store.append(log, entry, ttl),
    page: (...args) => askStore(() => store.page(...args)),
    list: (...args) => askStore(() => store.list(...args)),
    watch: (...args) => store.watch(...args),
    ...(claim && {
      claim(path: string, owners: readonly string[]) {
        const check = claim(path, owners);
        return () => {
          const checked = check();
          return checked && askStore(() => checked);
        };
      },
    }),
  };
}

/**
 * Returns the error for a request whose session cannot be checked. `writes` says whether the call
 * may have changed the store. If the cause is a TaskflowError, its own `maybeDone` counts.
 */
export function storeUnavailable(cause?: unknown, writes = false): TaskflowError {
  const { detail, maybeDone } =
    cause instanceof TaskflowError ? cause : { detail: undefined, maybeDone: writes };
  return new TaskflowError('STORE_UNAVAILABLE', 'the session store does not answer', {
    cause,
    detail,
    maybeDone,
    reported: isReported(cause),
  });
}
