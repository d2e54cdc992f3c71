import { Background } from '../../../background.js';
import type { Logger } from '../../../options.js';
import type { Clock, Timer } from '../clock.js';

/** Milliseconds before a failed claim is tried again. */
const retryDelay = 250;

interface ClaimTimerDeps {
  clock: Clock;
  logger: Logger;
  /** Checks for tasks to run. */
  look(): void;
}

/**
 * Wakes a process with free slots without a notification: when the next delayed task is due, and
 * soon after a failed claim. A failed claim does not report when the next task is due, so the
 * previously known time stays.
 */
export class ClaimTimer {
  readonly #claims: Background;
  readonly #clock: Clock;
  readonly #look: () => void;
  #due: Timer | undefined;
  #retry: Timer | undefined;
  #stopped = false;

  constructor({ clock, logger, look }: ClaimTimerDeps) {
    this.#claims = new Background(logger, 'looking for tasks to run');
    this.#clock = clock;
    this.#look = look;
  }

  /** Called after a claim. `nextDue` is when the next delayed task is due, in Unix milliseconds. */
  claimed(nextDue: number | null): void {
    this.#claims.worked();
    this.#due?.clear();
    if (nextDue !== null && !this.#stopped) this.#due = this.#clock.at(nextDue, this.#look);
  }

  /** Called after a failed claim. Claims are tried again until one works or `stop` is called. */
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
