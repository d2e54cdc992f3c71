import { TaskflowError } from '../../errors.js';

/** Returns the error for an attempt over a limit. */
export function throttled(retryAfter: number): TaskflowError {
  const wait =
    retryAfter < 90
      ? `${retryAfter} second${retryAfter === 1 ? '' : 's'}`
      : `${Math.ceil(retryAfter / 60)} minutes`;
  return new TaskflowError('THROTTLED', `Too many attempts. Try again in ${wait}.`, {
    headers: { 'Retry-After': String(retryAfter) },
  });
}
