import type { Context } from 'koa';
import type { Role } from '../../http/access.js';
import type { AuthLog } from '../auth-log.js';
import { LogLimit } from '../log-limit.js';
import { type RequestInfo, requestInfo } from '../request-info.js';
import type { Health } from '../strategies/health.js';
import type { StrategyRegistry } from '../strategies/registry.js';
import {
  type AuthContext,
  type EndedUser,
  isRedirectStrategy,
  type RedirectAttempt,
} from '../strategies/strategy.js';
import { isUserName } from '../strategies/user-fields.js';
import { type CheckedVerdict, readVerdict } from '../strategies/verdict.js';
import type { Attempt } from './attempts.js';
import type { PublicUrl } from './public-url.js';

interface ProvidersDeps {
  registry: Pick<StrategyRegistry, 'get' | 'names' | 'call'>;
  log: Pick<AuthLog, 'strategyError'>;
  health: Pick<Health, 'failed'>;
  urlOf: PublicUrl;
}

/** An attempt to sign in, and the provider's part of the session. */
interface LeavingSession {
  id: string;
  username: string;
  strategy: string;
}

/**
 * Calls the strategies that send the browser to a provider. Each call has a time limit. A call that
 * fails or returns a wrong value is logged and resolves to `undefined`: the provider is
 * unavailable.
 */
export interface Providers {
  /** Whether a strategy sends the browser to a provider. */
  has(strategy: string): boolean;
  /** Returns the URL of the provider to which the browser is sent. */
  begin(ctx: Context, attempt: Attempt): Promise<string | undefined>;
  /** Returns the checked verdict about a callback. */
  complete(ctx: Context, attempt: Attempt): Promise<CheckedVerdict | undefined>;
  /** Returns the URL at which the user signs out at the provider; `url` is absent without one. */
  leave(ctx: Context, session: LeavingSession): Promise<string | undefined>;
  /**
   * Returns whose sessions a message of the provider ends, or `invalid`. Resolves to `undefined` if
   * the strategy fails.
   */
  ended(
    ctx: Context,
    strategy: string,
    form: Readonly<Record<string, string>>,
  ): Promise<readonly EndedUser[] | 'invalid' | undefined>;
}

/** The roles of a user whose provider gives none: the user may only read. */
const noRoles: readonly Role[] = [];

/** Makes the functions that call the redirecting strategies of a login. */
export function providers({ registry, log, health, urlOf }: ProvidersDeps): Providers {
  const strategyOf = (name: string) => {
    const strategy = registry.get(name);
    return isRedirectStrategy(strategy) ? strategy : undefined;
  };
  const lines = new LogLimit();
  /**
   * Calls a method of a strategy. Logs its failure and resolves to `undefined`. Strangers can cause
   * failures while a provider is down, so they have one line a minute.
   */
  const call = async <T>(
    method: 'begin' | 'complete' | 'logoutUrl' | 'sessionsEnded',
    request: RequestInfo,
    name: string,
    ask: (context: AuthContext) => T | PromiseLike<T>,
    secrets: () => readonly string[],
  ): Promise<T | undefined> => {
    const strategy = strategyOf(name);
    if (!strategy) return undefined;
    const started = performance.now();
    const { ip, requestId } = request;
    try {
      return await registry.call(strategy, (signal) => ask({ signal, ip, requestId }));
    } catch (error) {
      const hidden = secrets();
      if (lines.isDue(`${name} ${method}`))
        log.strategyError(request, name, error, Math.round(performance.now() - started), hidden);
      health.failed(name, error, hidden);
      return undefined;
    }
  };
  const attemptFor = (ctx: Context, attempt: Attempt, context: AuthContext): RedirectAttempt => {
    const { state, data, sessionId, strategy } = attempt;
    const redirectUri = urlOf(ctx, `/auth/callback/${strategy}`);
    return { ...context, redirectUri, state, data, sessionId };
  };

  return {
    has: (name) => strategyOf(name) !== undefined,
    begin: (ctx, attempt) =>
      call(
        'begin',
        requestInfo(ctx),
        attempt.strategy,
        async (context) =>
          webAddress(
            'begin',
            await strategyOf(attempt.strategy)?.begin(ctx, attemptFor(ctx, attempt, context)),
            8192,
          ),
        () => secretsOf(ctx, attempt),
      ),
    complete: (ctx, attempt) =>
      call(
        'complete',
        requestInfo(ctx),
        attempt.strategy,
        async (context) =>
          readVerdict(
            await strategyOf(attempt.strategy)?.complete(ctx, attemptFor(ctx, attempt, context)),
            undefined,
            noRoles,
          ),
        () => secretsOf(ctx, attempt),
      ),
    leave: (ctx, { id, username, strategy }) =>
      call(
        'logoutUrl',
        requestInfo(ctx),
        strategy,
        async () => {
          const returnTo = urlOf(ctx, '/auth/signed-out');
          const url = await strategyOf(strategy)?.logoutUrl?.({ id, username, returnTo });
          return url === undefined ? undefined : webAddress('logoutUrl', url, maxLogoutUrl);
        },
        () => [],
      ),
    ended: (ctx, name, form) =>
      call(
        'sessionsEnded',
        requestInfo(ctx),
        name,
        async (context) => {
          const users: unknown = await strategyOf(name)?.sessionsEnded?.(form, context);
          return users === undefined ? 'invalid' : endedUsers(users);
        },
        () => Object.values(form),
      ),
  };
}

/** Returns the texts of an attempt that no log may contain, such as the code of the provider. */
function secretsOf(ctx: Context, { state, data }: Attempt): string[] {
  const texts = [state, ...Object.values(data), ...Object.values(ctx.query).flat()];
  return texts
    .filter((text): text is string => typeof text === 'string' && text.length > 3)
    .sort((one, other) => other.length - one.length);
}

/** Maximum length of the address of a logout, which a cookie must hold. */
const maxLogoutUrl = 2800;

/** Checks an address that a strategy returned. */
function webAddress(method: string, url: unknown, maxLength: number): string {
  if (typeof url !== 'string' || url.length > maxLength || !/^https?:\/\/[!-~]+$/.test(url))
    throw new TypeError(
      `${method} of the strategy must return an http(s) URL of at most ${maxLength} characters`,
    );
  return url;
}

function endedUsers(users: unknown): readonly EndedUser[] {
  const isUser = (user: unknown): user is EndedUser => {
    const { username, sessionId } = (user ?? {}) as Partial<Record<keyof EndedUser, unknown>>;
    return isUserName(username) && (sessionId === undefined || typeof sessionId === 'string');
  };
  if (!Array.isArray(users) || !users.every(isUser))
    throw new TypeError(
      'sessionsEnded of the strategy must return undefined, or a list of { username, sessionId? }',
    );
  return users;
}
