import type { Context } from 'koa';
import { TaskflowError } from '../../errors.js';
import type { Role } from '../../http/access.js';
import type { AuthLog } from '../auth-log.js';
import { LogLimit } from '../log-limit.js';
import { requestInfo } from '../request-info.js';
import type { Health } from '../strategies/health.js';
import type { KnownUsers } from '../strategies/known-users.js';
import type { StrategyRegistry } from '../strategies/registry.js';
import { isRequestStrategy, type RequestStrategy } from '../strategies/strategy.js';
import { readVerdict } from '../strategies/verdict.js';
import type { Session } from './session.js';

/*
 * Asks the request strategies who a request comes from. The first verdict other than `undefined`
 * decides, and `find_user` of the strategy must know the user. A strategy that fails makes the
 * request fail: without its answer, the cookie could belong to another user.
 */

/** The user that a request strategy identified. */
export interface RequestIdentity {
  readonly session: Session;
  readonly strategy: RequestStrategy;
}

/** An identity; `false` if a strategy rejected the request; `undefined` if none decided. */
type Answer = RequestIdentity | false | undefined;

/** A registered request strategy. */
type Named = readonly [name: string, strategy: RequestStrategy];

/** Milliseconds for which the identity of a request is valid. */
export const identityLifetime = 60_000;

const noRoles: readonly Role[] = [];

interface IdentityDeps {
  registry: Pick<StrategyRegistry, 'identify'>;
  users: Pick<KnownUsers, 'find'>;
  log: Pick<AuthLog, 'strategyError' | 'rejected'>;
  health: Pick<Health, 'answered' | 'failed' | 'failedAgain'>;
}

/** Identifies the users of requests. */
export class RequestIdentities {
  readonly #deps: IdentityDeps;
  readonly #strategies: readonly Named[];
  readonly #lines = new LogLimit();

  constructor(strategies: readonly Named[], deps: IdentityDeps) {
    this.#strategies = strategies;
    this.#deps = deps;
  }

  /** Returns the strategy whose token a Bearer value is, or `undefined`. */
  ownerOf(bearer: string): Named | undefined {
    return this.#strategies.find(([, strategy]) => strategy.ownsBearer?.(bearer) === true);
  }

  /**
   * Asks all strategies, or only the one whose token the request has. Returns a promise only if a
   * strategy returns a thenable.
   *
   * @throws TaskflowError STORE_UNAVAILABLE (or rejects with it) if a strategy fails.
   */
  of(ctx: Context, owner: Named | undefined): Answer | Promise<Answer> {
    if (!owner) return this.#askFrom(0, ctx);
    const answer = this.#ask(owner, ctx);
    return answer instanceof Promise ? answer.then((found) => found ?? false) : (answer ?? false);
  }

  /** Whether the strategy still identifies the same user with the same roles. */
  async isSame(ctx: Context, { session, strategy }: RequestIdentity): Promise<boolean> {
    const answer = await this.#ask([session.strategy, strategy], ctx);
    if (!answer) return false;
    const { username, roles } = answer.session;
    return username === session.username && sameList(roles, session.roles);
  }

  #askFrom(first: number, ctx: Context): Answer | Promise<Answer> {
    const named = this.#strategies[first];
    if (!named) return undefined;
    const answer = this.#ask(named, ctx);
    const orNext = (found: Answer): Answer | Promise<Answer> =>
      found === undefined ? this.#askFrom(first + 1, ctx) : found;
    return answer instanceof Promise ? answer.then(orNext) : orNext(answer);
  }

  #ask(named: Named, ctx: Context): Answer | Promise<Answer> {
    const started = performance.now();
    const fail = (error: unknown): never => this.#fail(named[0], ctx, error, started);
    try {
      const verdict = this.#identify(named, ctx);
      if (verdict instanceof Promise)
        return verdict.then((read) => this.#decide(named, ctx, read)).catch(fail);
      const answer = this.#decide(named, ctx, verdict);
      return answer instanceof Promise ? answer.catch(fail) : answer;
    } catch (error) {
      return fail(error);
    }
  }

  /**
   * Calls the strategy, and records whether it answered. Errors of `find_user`, which is asked
   * later, concern one user and do not count.
   */
  #identify([name, strategy]: Named, ctx: Context): unknown {
    const { registry, health } = this.#deps;
    const answered = (verdict: unknown): unknown => {
      if (verdict !== undefined) health.answered(name, 'found');
      return verdict;
    };
    const failed = (cause: unknown): never => {
      const isRefused = cause instanceof TaskflowError && cause.code === 'THROTTLED';
      // A strategy that fails for some requests only must not change its state each time.
      if (!isRefused && this.#lines.isDue(`${name} down`))
        health.failed(name, cause, bearerOf(ctx));
      else if (!isRefused) health.failedAgain(name);
      throw cause;
    };
    try {
      const verdict = registry.identify(strategy, ctx);
      return verdict instanceof Promise ? verdict.then(answered, failed) : answered(verdict);
    } catch (error) {
      return failed(error);
    }
  }

  #decide([name, strategy]: Named, ctx: Context, verdict: unknown): Answer | Promise<Answer> {
    if (verdict === undefined) return undefined;
    const { user, reason } = readVerdict(verdict, undefined, noRoles);
    if (!user) return this.#reject(name, ctx, reason);
    const { username, roles } = user;
    if (!strategy.find_user) return { session: sessionOf(name, username, roles), strategy };
    const known = this.#deps.users.find(name, username);
    const accept = (found: Awaited<typeof known>): Answer =>
      found
        ? { session: sessionOf(name, username, found.roles ?? roles), strategy }
        : this.#reject(name, ctx, 'unknown_user');
    return known instanceof Promise ? known.then(accept) : accept(known);
  }

  #reject(name: string, ctx: Context, reason: string | undefined): false {
    if (reason !== undefined && this.#lines.isDue(`${name} ${reason}`))
      this.#deps.log.rejected(requestInfo(ctx), name, reason);
    return false;
  }

  #fail(name: string, ctx: Context, cause: unknown, started: number): never {
    if (cause instanceof TaskflowError && cause.code === 'THROTTLED') throw cause;
    if (this.#lines.isDue(name)) {
      const durationMs = Math.round(performance.now() - started);
      this.#deps.log.strategyError(requestInfo(ctx), name, cause, durationMs, bearerOf(ctx));
    }
    throw new TaskflowError('STORE_UNAVAILABLE', `the strategy '${name}' does not answer`, {
      cause,
      detail: 'The user of this request cannot be identified at the moment.',
      reported: true,
    });
  }
}

/** Returns the identities of a login, or `undefined` if it has no request strategy. */
export function requestIdentities(
  registry: Pick<StrategyRegistry, 'identify' | 'names' | 'get'>,
  deps: Omit<IdentityDeps, 'registry'>,
): RequestIdentities | undefined {
  const strategies = registry.names('request').flatMap((name): Named[] => {
    const strategy = registry.get(name);
    return isRequestStrategy(strategy) ? [[name, strategy]] : [];
  });
  return strategies.length > 0
    ? new RequestIdentities(strategies, { registry, ...deps })
    : undefined;
}

/** Returns the token of a request, which no log may contain. */
function bearerOf(ctx: Context): string[] {
  return ctx
    .get('Authorization')
    .split(/[ \t]+/, 2)
    .slice(1);
}

function sameList(some: readonly Role[], others: readonly Role[]): boolean {
  return JSON.stringify(some) === JSON.stringify(others);
}

function sessionOf(strategy: string, username: string, roles: readonly Role[]): Session {
  const at = new Date();
  return {
    id: `request:${strategy}:${username}`,
    username,
    strategy,
    roles,
    issuedAt: at,
    expiresAt: new Date(at.getTime() + identityLifetime),
    authenticatedAt: at,
  };
}
