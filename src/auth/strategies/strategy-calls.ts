import type { Context } from 'koa';
import { catchListenerErrors } from '../../caught-listeners.js';
import { clientAddress } from '../../http/client-address.js';
import { requestId } from '../../http/request-id.js';
import { withTimeLimit } from '../time-limit.js';
import {
  type AuthContext,
  type FindUserContext,
  type KnownUser,
  methodsOf,
  type RequestStrategy,
  type Strategy,
} from './strategy.js';
import { isThenable } from './thenable.js';

/**
 * Maximum number of hanging calls of one function of a strategy, which are calls that exceeded
 * their time limit. Above it, the function is not called.
 */
const maxHanging = 16;
/**
 * Maximum number of simultaneous calls of `find_user` of one strategy. Further calls wait, within
 * their time limit.
 */
const maxFinding = 64;

type Found = KnownUser | undefined;
type Only = FindUserContext['only'];

/**
 * Calls the functions of one strategy. Each call has a time limit. The number of hanging calls and
 * of simultaneous calls is limited.
 */
export class StrategyCalls {
  readonly #strategy: Strategy;
  readonly #timeLimit: number;
  readonly #waiting = new Set<() => void>();
  /**
   * Hanging calls of the methods that sign users in are counted separately from those of
   * `find_user`, so that hanging logins do not affect signed-in users.
   */
  readonly #checks: HangingCalls;
  readonly #finds = new HangingCalls('find_user');
  readonly #identifies = new HangingCalls('authenticate_request');
  #finding = 0;

  constructor(strategy: Strategy, timeLimit: number) {
    this.#strategy = strategy;
    this.#timeLimit = timeLimit;
    this.#checks = new HangingCalls(methodsOf(strategy));
  }

  /**
   * Runs a call of a method that signs users in. Rejects if it exceeds the time limit, or if too
   * many calls hang.
   */
  async run<T>(call: (signal: AbortSignal) => T | PromiseLike<T>): Promise<T> {
    this.#checks.refuseIfMany();
    return withTimeLimit(this.#timeLimit, (signal) => {
      const asking = (async () => call(withListenerErrors(signal)))();
      signal.addEventListener('abort', () => this.#checks.count(asking));
      return asking;
    });
  }

  /**
   * Calls `find_user`. Returns a promise only if the strategy returns one or if the call must wait.
   */
  find(username: string, only?: Only): Found | Promise<Found> {
    if (!this.#strategy.find_user) return undefined;
    this.#finds.refuseIfMany();
    return this.#finding < maxFinding
      ? this.#findNow(username, only)
      : this.#findLater(username, only);
  }

  #findNow(username: string, only: Only): Found | Promise<Found> {
    const context = new LazyContext(only);
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
    return this.#limited(asking, context, this.#finds);
  }

  /** Calls `authenticate_request`. Returns a promise only if the strategy returns one. */
  identify(strategy: RequestStrategy, ctx: Context): unknown {
    this.#identifies.refuseIfMany();
    const context = new RequestContext(ctx);
    const verdict = strategy.authenticate_request(ctx, context);
    if (!isThenable(verdict)) return verdict;
    return this.#limited(Promise.resolve(verdict), context, this.#identifies);
  }

  #limited<T>(asking: Promise<T>, context: LazyContext, hanging: HangingCalls): Promise<T> {
    return withTimeLimit(this.#timeLimit, (signal) => {
      signal.addEventListener('abort', () => {
        context.abort(signal.reason);
        hanging.count(asking);
      });
      return asking;
    });
  }

  async #findLater(username: string, only: Only): Promise<Found> {
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
    return this.find(username, only);
  }
}

/** Counts the calls of one function that exceeded their time limit and have not ended. */
class HangingCalls {
  readonly #name: string;
  #hanging = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** @throws Error if too many calls hang. */
  refuseIfMany(): void {
    if (this.#hanging >= maxHanging)
      throw new Error(
        `${maxHanging} calls of ${this.#name} have not ended within their time limit; it is ` +
          'not called until one ends',
      );
  }

  count(asking: Promise<unknown>): void {
    this.#hanging += 1;
    const ended = (): void => {
      this.#hanging -= 1;
    };
    asking.then(ended, ended);
  }
}

function createController(): AbortController {
  const controller = new AbortController();
  withListenerErrors(controller.signal);
  return controller;
}

/**
 * Adds the error of a strategy's abort listener to the message of the abort error, which is logged.
 */
function withListenerErrors(signal: AbortSignal): AbortSignal {
  return catchListenerErrors(signal, (err) => {
    const { reason } = signal as { reason: unknown };
    const why = err instanceof Error ? err.message : typeof err;
    if (reason instanceof Error) reason.message += `, and a listener of the signal failed: ${why}`;
  });
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Creates its signal on demand, because most calls return at once and need none. */
class LazyContext implements FindUserContext {
  readonly only: Only;
  #controller: AbortController | undefined;

  constructor(only?: Only) {
    this.only = only;
  }

  get signal(): AbortSignal {
    this.#controller ??= createController();
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    // The strategy may read the signal after the abort.
    this.#controller ??= new AbortController();
    this.#controller.abort(reason);
  }
}

/** Reads its members from the request on demand, because most strategies need none of them. */
class RequestContext extends LazyContext implements AuthContext {
  readonly #ctx: Context;

  constructor(ctx: Context) {
    super();
    this.#ctx = ctx;
  }

  get ip(): string {
    return clientAddress(this.#ctx);
  }

  get requestId(): string {
    return requestId(this.#ctx);
  }
}
