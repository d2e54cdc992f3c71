import { Background } from '../../../background.js';
import type { Timer } from '../clock.js';
import type { Shared } from '../shared.js';

/** Milliseconds before a failed claim is tried again. */
const retryDelay = 250;

/**
 * Creates the timer that wakes a process with free slots without a notification: when the next
 * delayed task is due, and soon after a failed claim. A failed claim does not report when the next
 * task is due, so the previously known time stays.
 */
export function createClaimTimer({ clock, logger, wake }: Shared) {
  const claims = new Background(logger, 'looking for tasks to run');
  let due: Timer | undefined;
  let retry: Timer | undefined;
  let stopped = false;
  return {
    /**
     * Called after a claim. `nextDue` is when the next delayed task is due, in Unix milliseconds.
     */
    claimed(nextDue: number | null): void {
      claims.worked();
      due?.clear();
      if (nextDue !== null && !stopped) due = clock.at(nextDue, wake);
    },

    /** Called after a failed claim. Claims are tried again until one works or `stop` is called. */
    failed(error: unknown): void {
      if (stopped) return;
      claims.failed(error);
      retry ??= clock.after(retryDelay, () => {
        retry = undefined;
        wake();
      });
    },

    stop(): void {
      stopped = true;
      due?.clear();
      retry?.clear();
    },
  };
}
