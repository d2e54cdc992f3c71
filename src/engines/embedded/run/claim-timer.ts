import { Background } from '../../../background.js';
import type { Logger } from '../../../options.js';
import type { Clock, Timer } from '../clock.js';

/** Milliseconds before a claim that failed is tried again. */
const retryDelay = 250;

interface ClaimTimerParts {
  clock: Clock;
  logger: Logger;
  /** Looks for tasks to run. */
  look(): void;
}

/**
 * Decides when a process that has free slots looks for tasks without a notification: when the next
 * waiting task is due, and soon after a claim that failed. A failed claim does not report when the
 * next task is due, so the time known before stays.
 */
export class ClaimTimer {
  readonly #claims: Background;
  readonly #clock: Clock;
  readonly #look: () => void;
  #due: Timer | undefined;
  #retry: Timer | undefined;
  #stopped = false;

  constructor({ clock, logger, look }: ClaimTimerParts) {
    this.#claims = new Background(logger, 'looking for tasks to run');
    this.#clock = clock;
    this.#look = look;
  }

  /** A claim was made. `nextDue` is when the next waiting task is due, in Unix milliseconds. */
  claimed(nextDue: number | null): void {
    this.#claims.worked();
    this.#due?.clear();
    if (nextDue !== null && !this.#stopped) this.#due = this.#clock.at(nextDue, this.#look);
  }

  /** A claim failed. It is tried again until one works, or until this timer is stopped. */
  failed(error: unknown): void {
    if (this.#stopped) return;
    this.#claims.failed(error);
    this.#retry ??= this.#clock.after(retryDelay, () => {
      this.#retry = undefined;
      this.#look();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#due?.clear();
    this.#retry?.clear();
  }
}
