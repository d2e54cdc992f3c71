import type { Role } from '../http/access.js';
import { optionsObject, secondsOption, wrongType } from '../options.js';
import { type AuthContext, type AuthStrategy, isRoleList, isStrategy, isUserName } from './strategy.js';

/** What was typed into the login form. */
export interface Credentials {
  username: string;
  password: string;
  /** Name of the one strategy to ask; all of them, in the order registered, when absent. */
  strategy?: string | undefined;
}

/** Who logged in, and by which strategy. A user is the pair of both. */
export interface Authenticated {
  username: string;
  strategy: string;
  roles: readonly Role[];
}

/** What a login attempt is known by, and who is told of strategies that fail. */
export interface AttemptContext extends Omit<AuthContext, 'signal'> {
  /** Told of a strategy that threw, rejected, answered nonsense or took too long. */
  onError?(strategy: string, error: unknown, durationMs: number): void;
}

/** Options of a {@link StrategyRegistry}. */
export interface RegistryOptions {
  /** Seconds a strategy may take for one attempt before it counts as failed. Default 10. */
  timeLimit?: number | undefined;
}

const full: readonly Role[] = ['admin'];

/** Named strategies, tried in the order they were registered. */
export class StrategyRegistry {
  readonly #strategies = new Map<string, AuthStrategy>();
  readonly #timeLimit: number;

  constructor(options?: RegistryOptions) {
    const { timeLimit } = optionsObject<RegistryOptions>('StrategyRegistry', options, ['timeLimit']);
    this.#timeLimit = secondsOption('timeLimit', timeLimit, 10);
  }

  /**
   * Adds a strategy under a name of letters, digits, `_`, `.` and `-`.
   *
   * @throws TypeError for another kind of name or an object that is no strategy; RangeError for a name already taken.
   */
  register(name: string, strategy: AuthStrategy): this {
    if (typeof name !== 'string' || !/^[A-Za-z0-9][\w.-]{0,63}$/.test(name)) {
      throw wrongType('name of a strategy', name, "up to 64 letters, digits, '_', '.' or '-', with a letter or digit first");
    }
    if (!isStrategy(strategy))
      throw wrongType(`strategy '${name}'`, strategy, 'an object with authenticate_user(username, password, context)');
    if (this.#strategies.has(name)) throw new RangeError(`a strategy named '${name}' is registered already`);
    this.#strategies.set(name, strategy);
    return this;
  }

  get(name: string): AuthStrategy | undefined {
    return this.#strategies.get(name);
  }

  names(): string[] {
    return [...this.#strategies.keys()];
  }

  /** Resolves to whoever the credentials belong to, or to `undefined`. Never rejects: a strategy that fails is skipped. */
  async authenticate({ username, password, strategy }: Credentials, context: AttemptContext): Promise<Authenticated | undefined> {
    const names = strategy === undefined ? this.names() : [strategy];
    for (const name of names) {
      const candidate = this.#strategies.get(name);
      if (!candidate) continue;
      const started = performance.now();
      try {
        const found = await this.#ask(candidate, username, password, context);
        if (found) return { ...found, strategy: name };
      } catch (error) {
        context.onError?.(name, error, Math.round(performance.now() - started));
      }
    }
    return undefined;
  }

  /** Whether any strategy knows the name; one that cannot tell does not. */
  async knows(username: string): Promise<boolean> {
    for (const strategy of this.#strategies.values()) {
      try {
        const found = strategy.find_user && (await withLimit(this.#timeLimit, async () => strategy.find_user?.(username)));
        if (found) return true;
      } catch {
        // A directory that is down says nothing about the name.
      }
    }
    return false;
  }

  async #ask(
    strategy: AuthStrategy,
    username: string,
    password: string,
    { ip, requestId }: AttemptContext,
  ): Promise<Omit<Authenticated, 'strategy'> | undefined> {
    const verdict: unknown = await withLimit(this.#timeLimit, async (signal) =>
      strategy.authenticate_user(username, password, { signal, ip, requestId }),
    );
    return readVerdict(verdict, username);
  }
}

/** Calls with a signal that aborts after so many seconds, and rejects then. */
async function withLimit<T>(seconds: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`no answer within ${seconds} s`);
      error.name = 'TimeoutError';
      controller.abort(error);
      reject(error);
    }, seconds * 1000);
  });
  try {
    return await Promise.race([call(controller.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Only `true` and an object with `ok: true` let in. `false` is a plain no; all else is a fault of the strategy. */
function readVerdict(verdict: unknown, typed: string): Omit<Authenticated, 'strategy'> | undefined {
  if (verdict === false) return undefined;
  if (verdict === true) return { username: typed, roles: full };
  if (typeof verdict !== 'object' || verdict === null || (verdict as { ok?: unknown }).ok !== true) {
    throw new TypeError('the strategy answered neither true, false nor an object with ok: true');
  }
  const { username = typed, roles = full } = verdict as { username?: unknown; roles?: unknown };
  if (!isUserName(username)) throw new TypeError('the strategy answered with a user name that is not 1 to 256 printable characters');
  if (!isRoleList(roles)) throw new TypeError('the strategy answered with roles that are not a list of names');
  return { username, roles: [...roles] };
}
