import { type AuthStrategy, type FindUserContext, isThenable, type KnownUser } from './strategy.js';
import { withTimeLimit } from './time-limit.js';

/** Calls of one strategy that may run past their time limit; while there are as many, the strategy is not asked. */
const maxHanging = 16;
/** Calls of `find_user` of one strategy that may run at once. More wait, within their time limit. */
const maxFinding = 64;

type Found = KnownUser | undefined;

/** The calls of one strategy: each has a time limit, and how many may hang or run at once is bounded. */
export class StrategyCalls {
  readonly #strategy: AuthStrategy;
  readonly #timeLimit: number;
  readonly #waiting = new Set<() => void>();
  #hanging = 0;
  #finding = 0;

  constructor(strategy: AuthStrategy, timeLimit: number) {
    this.#strategy = strategy;
    this.#timeLimit = timeLimit;
  }

  /** Runs a call of the strategy. Rejects when it is late, or when too many calls hang already. */
  async run<T>(call: (signal: AbortSignal) => T | PromiseLike<T>): Promise<T> {
    this.#refuseWhileHanging();
    return withTimeLimit(this.#timeLimit, (signal) => {
      const asking = (async () => call(signal))();
      signal.addEventListener('abort', () => this.#countHanging(asking));
      return asking;
    });
  }

  /** Asks `find_user`. Returns at once what the strategy returns at once. */
  find(username: string): Found | Promise<Found> {
    if (!this.#strategy.find_user) return undefined;
    this.#refuseWhileHanging();
    return this.#finding < maxFinding ? this.#findNow(username) : this.#findLater(username);
  }

  #findNow(username: string): Found | Promise<Found> {
    const context = new LazyContext();
    const found = this.#strategy.find_user?.(username, context);
    if (!isThenable(found)) return found;
    this.#finding += 1;
    const asking = Promise.resolve(found);
    const ended = (): void => {
      this.#finding -= 1;
      const [next] = this.#waiting;
      next?.();
    };
    asking.then(ended, ended);
    return withTimeLimit(this.#timeLimit, (signal) => {
      signal.addEventListener('abort', () => {
        context.abort(signal.reason);
        this.#countHanging(asking);
      });
      return asking;
    });
  }

  async #findLater(username: string): Promise<Found> {
    const { promise: freed, resolve } = deferred();
    const free = (): void => {
      this.#waiting.delete(free);
      resolve();
    };
    this.#waiting.add(free);
    try {
      await withTimeLimit(this.#timeLimit, () => freed);
    } finally {
      this.#waiting.delete(free);
    }
    return this.find(username);
  }

  #refuseWhileHanging(): void {
    if (this.#hanging >= maxHanging)
      throw new Error(`${maxHanging} calls of the strategy have not ended within their time limit; it is not asked until one ends`);
  }

  #countHanging(asking: Promise<unknown>): void {
    this.#hanging += 1;
    const ended = (): void => {
      this.#hanging -= 1;
    };
    asking.then(ended, ended);
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Makes its signal only when it is read: most requests ask a `find_user` that answers at once and needs none. */
class LazyContext implements FindUserContext {
  #controller: AbortController | undefined;

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    // Also for a strategy that reads its signal only afterwards.
    this.#controller ??= new AbortController();
    this.#controller.abort(reason);
  }
}
