import { forwardClock } from './forward-clock.js';

/** Milliseconds between two log lines about the same fault. */
const interval = 60_000;
/** Maximum number of faults that are remembered. */
const remembered = 1000;

/** Limits log lines about faults that each request of a client may cause. */
export class LogLimit {
  readonly #logged = new Map<string, number>();
  readonly #clock = forwardClock();

  /** Whether a line about this fault is due: the first one, and then one a minute. */
  isDue(fault: string): boolean {
    const now = this.#clock();
    if (now - (this.#logged.get(fault) ?? Number.NEGATIVE_INFINITY) < interval) return false;
    if (this.#logged.size >= remembered) this.#logged.clear();
    this.#logged.set(fault, now);
    return true;
  }
}
