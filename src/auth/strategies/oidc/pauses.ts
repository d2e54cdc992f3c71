import { LRUCache } from 'lru-cache';
import type { ProviderError } from './provider-errors.js';

/*
 * After a failure, the provider is not asked for a short time. If it fails for one user only, it is
 * still asked about the others. Otherwise, a removed user could stay signed in by the failures for
 * another one.
 */

interface Pause {
  error: ProviderError;
  until: number;
}

/** Milliseconds after a failure in which the provider is not asked again. */
const length = 5000;
/** Number of users in a row for whom the provider must fail before it is not asked at all. */
const usersOfOutage = 3;
const remembered = 10_000;

/** The times in which a provider is not asked. */
export class Pauses {
  /** Returns milliseconds, and never goes back. */
  readonly #clock: () => number;
  /** The users for whom the provider failed. */
  readonly #users = new LRUCache<string, Pause>({ max: remembered });
  #all: Pause | undefined;
  /** The number of users for whom it failed for the first time, since its last answer. */
  #inRow = 0;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** Returns the last error if the provider must not be asked about a user now. */
  errorFor(user: string): ProviderError | undefined {
    const now = this.#clock();
    return [this.#users.get(user), this.#all].find((pause) => pause && now < pause.until)?.error;
  }

  /** Notes that the provider failed for a user. */
  failed(user: string, error: ProviderError): void {
    const pause = { error, until: this.#clock() + length };
    // Repeated failures for the same users must not pause the questions about others.
    const isFirst = !this.#users.has(user);
    if (isFirst) this.#inRow += 1;
    this.#users.set(user, pause);
    if (error.isUnreachable || (isFirst && this.#inRow >= usersOfOutage)) this.#all = pause;
  }

  /** Notes that the provider answered about a user. */
  answered(user: string): void {
    this.#users.delete(user);
    this.#inRow = 0;
  }
}
