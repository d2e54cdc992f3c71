import { runInEmptyContext } from '../../empty-context.js';
import type { Role } from '../../http/access.js';
import { numberOption, rangeError, typeError, wrongType } from '../../options.js';
import { optionsObject } from '../../options-object.js';
import { kindOf } from '../../show-value.js';
import { type HashLimits, HashQueueFull, limitHashes } from '../passwords/hash-queue.js';
import {
  type AuthContext,
  type AuthStrategy,
  isRoleList,
  isStrategy,
  isUserName,
  type KnownUser,
} from './strategy.js';
import { StrategyCalls } from './strategy-calls.js';

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
export interface Authenticated {
  username: string;
  strategy: string;
  roles: readonly Role[];
}

/** The data of a login attempt that strategies receive, and a callback for strategies that fail. */
export interface AttemptContext extends Omit<AuthContext, 'signal'> {
  /** Limits for computing the password hashes of this attempt. Default: no limit. */
  hashes?: HashLimits | undefined;
  /** Called if a strategy throws, rejects, returns an invalid verdict or exceeds its time limit. */
  onError?(strategy: string, error: unknown, durationMs: number): void;
}

/** Options of a {@link StrategyRegistry}. */
export interface RegistryOptions {
  /**
   * Seconds that a strategy may take to check a password or to find a user. A call that takes
   * longer counts as failed. Default 10.
   */
  timeLimit?: number | undefined;
}

const full: readonly Role[] = ['admin'];

/** Named strategies. A login tries them in the order of their registration. */
export class StrategyRegistry {
  readonly #strategies = new Map<string, AuthStrategy>();
  readonly #calls = new WeakMap<AuthStrategy, StrategyCalls>();
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
   * @throws TypeError if the name is not valid or the object is not a strategy. RangeError if the
   * name is already registered.
   */
  register(name: string, strategy: AuthStrategy): this {
    if (typeof name !== 'string' || !/^[A-Za-z0-9][\w.-]{0,63}$/.test(name)) {
      throw wrongType(
        'name of a strategy',
        name,
        "up to 64 letters, digits, '_', '.' or '-', with a letter or digit first",
      );
    }
    if (!isStrategy(strategy)) {
      const kind = kindOf(strategy);
      const found = kind === 'an object' ? 'an object without the method authenticate_user' : kind;
      throw typeError(
        `strategy '${name}' is ${found}; ` +
          "it must be a strategy, such as staticUser('admin', password)",
      );
    }
    if (this.#strategies.has(name))
      throw rangeError(`a strategy named '${name}' is already registered; use another name`);
    this.#strategies.set(name, strategy);
    return this;
  }

  /** Returns the strategy with this name, or `undefined`. */
  get(name: string): AuthStrategy | undefined {
    return this.#strategies.get(name);
  }

  /** Returns the names of all strategies in the order of their registration. */
  names(): string[] {
    return [...this.#strategies.keys()];
  }

  /**
   * Resolves to the user of the credentials, or to `undefined`. A strategy that fails is skipped.
   * Rejects only if the queue of password checks is full.
   */
  async authenticate(
    { username, password, strategy }: Credentials,
    context: AttemptContext,
  ): Promise<Authenticated | undefined> {
    const names = strategy === undefined ? this.names() : [strategy];
    for (const name of names) {
      const candidate = this.#strategies.get(name);
      if (!candidate) continue;
      const started = performance.now();
      try {
        const found = await this.#ask(candidate, username, password, context);
        if (found) return { ...found, strategy: name };
      } catch (error) {
        if (error instanceof HashQueueFull) throw error;
        context.onError?.(name, error, Math.round(performance.now() - started));
      }
    }
    return undefined;
  }

  /**
   * Whether any strategy knows the name. A strategy that fails counts as one that does not know it.
   */
  async knows(username: string): Promise<boolean> {
    for (const strategy of this.#strategies.values()) {
      try {
        if (await this.find(strategy, username)) return true;
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
    strategy: AuthStrategy,
    username: string,
  ): KnownUser | undefined | Promise<KnownUser | undefined> {
    return runInEmptyContext(() => this.#callsOf(strategy).find(username));
  }

  async #ask(
    strategy: AuthStrategy,
    username: string,
    password: string,
    { ip, requestId, hashes }: AttemptContext,
  ): Promise<Omit<Authenticated, 'strategy'> | undefined> {
    const verdict: unknown = await this.#callsOf(strategy).run((signal) => {
      const context: AuthContext = { signal, ip, requestId };
      if (hashes) limitHashes(context, hashes);
      return strategy.authenticate_user(username, password, context);
    });
    return readVerdict(verdict, username);
  }

  #callsOf(strategy: AuthStrategy): StrategyCalls {
    const calls = this.#calls.get(strategy) ?? new StrategyCalls(strategy, this.#timeLimit);
    this.#calls.set(strategy, calls);
    return calls;
  }
}

/**
 * Returns the accepted user for `true` and `{ ok: true }`, and `undefined` for `false`. Throws for
 * any other verdict.
 */
function readVerdict(verdict: unknown, typed: string): Omit<Authenticated, 'strategy'> | undefined {
  if (verdict === false) return undefined;
  if (verdict === true) return { username: typed, roles: full };
  if (
    typeof verdict !== 'object' ||
    verdict === null ||
    (verdict as { ok?: unknown }).ok !== true
  ) {
    throw new TypeError('the strategy returned neither true, false nor an object with ok: true');
  }
  const { username = typed, roles = full } = verdict as { username?: unknown; roles?: unknown };
  if (!isUserName(username))
    throw new TypeError(
      'the strategy returned a username that is not 1 to 256 printable characters',
    );
  // The list is copied before the check, so that a later change by the strategy has no effect.
  const copy: unknown = Array.isArray(roles) ? [...(roles as unknown[])] : roles;
  if (!isRoleList(copy))
    throw new TypeError(
      'the strategy returned roles that are not a list of at most 32 names of 64 characters',
    );
  return { username, roles: copy };
}
