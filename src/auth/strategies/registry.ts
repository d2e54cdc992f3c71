import type { Context } from 'koa';
import { runInEmptyContext } from '../../empty-context.js';
import { numberOption, rangeError, tenYears, typeError, wrongType } from '../../options.js';
import { optionsObject } from '../../options-object.js';
import { kindOf } from '../../show-value.js';
import { type HashLimits, HashQueueFull, limitHashes } from '../passwords/hash-queue.js';
import {
  type AuthContext,
  type AuthStrategy,
  type FindUserContext,
  isPasswordStrategy,
  type KnownUser,
  kindsOf,
  type RequestStrategy,
  type Strategy,
  type StrategyKind,
} from './strategy.js';
import { StrategyCalls } from './strategy-calls.js';
import { type Accepted, readVerdict } from './verdict.js';

/** The credentials of a login. */
export interface Credentials {
  username: string;
  password: string;
  /**
   * Name of the only strategy to ask. Default: all strategies, in the order of their registration.
   */
  strategy?: string | undefined;
}

/** A signed-in user: name and strategy together identify the user. */
export interface Authenticated extends Accepted {
  strategy: string;
}

/** The data of a login attempt that strategies receive, and a callback for strategies that fail. */
export interface AttemptContext extends Omit<AuthContext, 'signal'> {
  /** Limits for computing the password hashes of this attempt. Default: no limit. */
  hashes?: HashLimits | undefined;
  /** Called if a strategy throws, rejects, returns an invalid verdict or exceeds its time limit. */
  onError?(strategy: string, error: unknown, durationMs: number): void;
  /** Called if a strategy rejects the user and gives a reason. */
  onRejected?(strategy: string, reason: string): void;
}

/** Options of a {@link StrategyRegistry}. */
export interface RegistryOptions {
  /**
   * Seconds that a strategy may take to check a password or to find a user. A call that takes
   * longer counts as failed. Default 10.
   */
  timeLimit?: number | undefined;
}

/**
 * Named strategies of all kinds. A login with a password asks the local password strategies first,
 * then the others, each in the order of their registration.
 */
export class StrategyRegistry {
  readonly #strategies = new Map<string, Strategy>();
  readonly #calls = new WeakMap<Strategy, StrategyCalls>();
  readonly #timeLimit: number;

  constructor(options?: RegistryOptions) {
    const { timeLimit } = optionsObject<RegistryOptions>('StrategyRegistry', options, [
      'timeLimit',
    ]);
    this.#timeLimit = numberOption('timeLimit', timeLimit, 10, {
      above: true,
      max: 315_360_000,
      unit: 'seconds',
    });
  }

  /** Seconds that a strategy may take for one call. */
  get timeLimit(): number {
    return this.#timeLimit;
  }

  /**
   * Adds a strategy. Its name may contain letters, digits, `_`, `.` and `-`.
   *
   * @throws TypeError if the name is not valid, or the object is not a strategy of exactly one
   * kind. RangeError if the name is already registered. A wrong `staleFor` causes one of these
   * errors, too.
   */
  register(name: string, strategy: Strategy): this {
    if (typeof name !== 'string' || !/^[A-Za-z0-9][\w.-]{0,63}$/.test(name)) {
      throw wrongType(
        'name of a strategy',
        name,
        "up to 64 letters, digits, '_', '.' or '-', with a letter or digit first",
      );
    }
    checkKind(name, strategy);
    numberOption(`staleFor of strategy '${name}'`, strategy.staleFor, 0, {
      max: tenYears,
      unit: 'seconds',
    });
    if (this.#strategies.has(name))
      throw rangeError(`a strategy named '${name}' is already registered; use another name`);
    this.#strategies.set(name, strategy);
    return this;
  }

  /** Returns the strategy with this name, or `undefined`. */
  get(name: string): Strategy | undefined {
    return this.#strategies.get(name);
  }

  /**
   * Returns the names of all strategies, or of those of one kind, in the order of their
   * registration. Of the password strategies, the local ones come first.
   */
  names(kind?: StrategyKind): string[] {
    const all = [...this.#strategies];
    if (kind === undefined) return all.map(([name]) => name);
    const found = all.filter(([, strategy]) => kindsOf(strategy)[0] === kind);
    const isLocal = ([, strategy]: [string, Strategy]): boolean =>
      isPasswordStrategy(strategy) && strategy.local === true;
    return [...found.filter(isLocal), ...found.filter((each) => !isLocal(each))].map(
      ([name]) => name,
    );
  }

  /**
   * Resolves to the user of the credentials, or to `undefined`. A strategy that fails is skipped.
   * Rejects only if the queue of password checks is full.
   */
  async authenticate(
    { username, password, strategy }: Credentials,
    context: AttemptContext,
  ): Promise<Authenticated | undefined> {
    const names = strategy === undefined ? this.names('password') : [strategy];
    for (const name of names) {
      const candidate = this.#strategies.get(name);
      if (!isPasswordStrategy(candidate)) continue;
      const started = performance.now();
      try {
        const verdict = await this.#ask(candidate, username, password, context);
        const read = readVerdict(verdict, username);
        if (read.user) return { ...read.user, strategy: name };
        if (read.reason !== undefined) context.onRejected?.(name, read.reason);
      } catch (error) {
        if (error instanceof HashQueueFull) throw error;
        context.onError?.(name, error, Math.round(performance.now() - started));
      }
    }
    return undefined;
  }

  /**
   * Whether any password strategy knows the name. A strategy that fails counts as one that does not
   * know it.
   */
  async knows(username: string): Promise<boolean> {
    for (const name of this.names('password')) {
      const strategy = this.#strategies.get(name);
      try {
        if (strategy && (await this.find(strategy, username, 'version'))) return true;
      } catch {
        // A strategy that does not answer cannot say whether it knows the name.
      }
    }
    return false;
  }

  /**
   * Returns the result of the strategy's `find_user`: a value if the strategy returns a value,
   * otherwise a promise. Throws or rejects if the strategy fails, exceeds its time limit, or has
   * too many hanging calls. `find_user` runs in an empty AsyncLocalStorage context, because all
   * requests of the user share its answer.
   */
  find(
    strategy: Strategy,
    username: string,
    only?: FindUserContext['only'],
  ): KnownUser | undefined | Promise<KnownUser | undefined> {
    return runInEmptyContext(() => this.#callsOf(strategy).find(username, only));
  }

  /**
   * Returns the verdict of `authenticate_request`: a value if the strategy returns a value,
   * otherwise a promise. Throws or rejects if the strategy fails, exceeds its time limit, or has
   * too many hanging calls.
   */
  identify(strategy: RequestStrategy, ctx: Context): unknown {
    return this.#callsOf(strategy).identify(strategy, ctx);
  }

  /**
   * Calls a method of a strategy that signs users in. Rejects if the call fails, exceeds the time
   * limit, or if too many calls hang.
   */
  call<T>(strategy: Strategy, ask: (signal: AbortSignal) => T | PromiseLike<T>): Promise<T> {
    return this.#callsOf(strategy).run(ask);
  }

  async #ask(
    strategy: AuthStrategy,
    username: string,
    password: string,
    { ip, requestId, hashes }: AttemptContext,
  ): Promise<unknown> {
    return this.#callsOf(strategy).run<unknown>((signal) => {
      const context: AuthContext = { signal, ip, requestId };
      if (hashes) limitHashes(context, hashes);
      return strategy.authenticate_user(username, password, context);
    });
  }

  #callsOf(strategy: Strategy): StrategyCalls {
    const calls = this.#calls.get(strategy) ?? new StrategyCalls(strategy, this.#timeLimit);
    this.#calls.set(strategy, calls);
    return calls;
  }
}

/** What the error messages call the methods of a strategy. */
const accepted =
  "it must be a strategy, such as staticUser('admin', password), with the method " +
  'authenticate_user, the methods begin and complete, or the method authenticate_request';

/** Throws unless a value is a strategy of exactly one kind. */
function checkKind(name: string, strategy: unknown): void {
  const kinds = kindsOf(strategy);
  if (kinds.length > 1)
    throw typeError(
      `strategy '${name}' has the methods of ${kinds.length} kinds of strategies ` +
        `(${kinds.join(', ')}); register one strategy for each kind`,
    );
  if (kinds[0] === 'request') {
    const { ambient } = strategy as Partial<RequestStrategy>;
    if (typeof ambient !== 'boolean')
      throw wrongType(`ambient of strategy '${name}'`, ambient, 'true or false');
  }
  if (kinds.length === 1) return;
  const kind = kindOf(strategy);
  const found = kind === 'an object' ? 'an object without the methods of a strategy' : kind;
  throw typeError(`strategy '${name}' is ${found}; ${accepted}`);
}
