import { Background } from '../../../background.js';
import type { Logger } from '../../../options.js';

/** The most milliseconds of one timer that waits for a task. */
const longestWait = 5_000;
/** Milliseconds before a claim that failed is tried again. */
const retryDelay = 250;

interface ClaimTimerParts {
  logger: Logger;
  /** Looks for tasks to run. */
  look(): void;
}

/**
 * Decides when a process that has free slots looks for tasks without a notification: when the next waiting task is due, and
 * soon after a claim that failed. A failed claim does not report when the next task is due, so the time known before stays.
 */
export class ClaimTimer {
  readonly #claims: Background;
  readonly #look: () => void;
  #due: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor({ logger, look }: ClaimTimerParts) {
    this.#claims = new Background(logger, 'looking for tasks to run');
    this.#look = look;
  }

  /** A claim was made. `nextDue` is when the next waiting task is due, in Unix milliseconds. */
  claimed(nextDue: number | null): void {
    this.#claims.worked();
    clearTimeout(this.#due);
    if (nextDue !== null && !this.#stopped) this.#waitFor(nextDue);
  }

  /** A claim failed. It is tried again until one works, or until this timer is stopped. */
  failed(error: unknown): void {
    if (this.#stopped) return;
    this.#claims.failed(error);
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.#look();
    }, retryDelay);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#due);
    clearTimeout(this.#retry);
  }

  /** Waits in short steps, so that a clock that was set forward is noticed. */
  #waitFor(due: number): void {
    const next = (): void => (Date.now() < due ? this.#waitFor(due) : this.#look());
    this.#due = setTimeout(next, Math.min(Math.max(0, due - Date.now()), longestWait));
  }
}
