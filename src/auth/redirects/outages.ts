import { LRUCache } from 'lru-cache';

/*
 * While a provider does not answer, each callback stores that its attempt was used and asks the
 * provider in vain. Such a callback proves nothing against its client, so it does not count as
 * rejected. These limits replace that count: after some failures, a client may ask only now and
 * then. The first answer lifts the limit, so that users can sign in as soon as the provider is
 * back. Each process counts on its own.
 */

/** Number of failures of a client before the limit applies. */
const allowed = 30;
/** Milliseconds between two callbacks that may ask the provider above the limit. */
const pause = 5000;
/** Milliseconds after which the failures of a client are forgotten. */
const remembered = 600_000;

interface Failures {
  count: number;
  /** When the next callback above the limit may ask the provider. */
  nextAt: number;
}

/** Limits the callbacks of a client while their provider does not answer. */
export class Outages {
  readonly #failures = new LRUCache<string, Failures>({ max: 1000, ttl: remembered });

  /** Whether a callback of this client may ask the provider now. */
  mayAsk(strategy: string, client: string): boolean {
    const failures = this.#failures.get(keyOf(strategy, client));
    if (!failures || failures.count < allowed) return true;
    const now = performance.now();
    if (now < failures.nextAt) return false;
    failures.nextAt = now + pause;
    return true;
  }

  /** Counts a callback that the provider did not answer. */
  failed(strategy: string, client: string): void {
    const key = keyOf(strategy, client);
    const failures = this.#failures.get(key) ?? { count: 0, nextAt: 0 };
    if (failures.count === 0) this.#failures.set(key, failures);
    failures.count += 1;
    failures.nextAt = performance.now() + pause;
  }

  /** Lifts the limit, because the provider answered a callback of this client. */
  answered(strategy: string, client: string): void {
    this.#failures.delete(keyOf(strategy, client));
  }
}

function keyOf(strategy: string, client: string): string {
  return `${strategy} ${client}`;
}
