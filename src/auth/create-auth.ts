import { randomBytes } from 'node:crypto';
import type { Context } from 'koa';
import type { Access } from '../http/access.js';
import { type Mount, mountAt } from '../http/mount.js';
import { trustedOriginsOption } from '../http/same-origin.js';
import { type Logger, loggerOption, optionsObject, pathOption, secondsOption, stringOption, wrongType } from '../options.js';
import { memoryStore } from '../store/memory-store.js';
import type { SharedStore } from '../store/shared-store.js';
import { type AuthLog, authLog } from './auth-log.js';
import { type CookieOptions, type SessionCookie, sessionCookie } from './cookie.js';
import { isSafeNext, nextOf } from './next.js';
import { currentSession, endSignal } from './read-session.js';
import type { StrategyRegistry } from './registry.js';
import { followRevocations, type Revocations } from './revocations.js';
import { resolveStrategies, type Strategies } from './short-forms.js';
import { createTokens, secretKeysOption, type Tokens } from './token.js';

/** Options of {@link createAuth}. */
export interface AuthOptions {
  /** Who may log in: a {@link StrategyRegistry}, one strategy, `['admin', 'secret']`, or a list of users. */
  strategies: Strategies;
  /**
   * Signs the session tokens: at least 32 random characters, or a list of such keys, of which the first signs and all
   * verify. Absent: a random key for this process, so that a restart ends all sessions.
   */
  secretKey?: string | readonly string[] | undefined;
  /** Seconds a session lasts from the login. Default 86400. */
  tokenExpiry?: number | undefined;
  /** Where the login's routes stand, and the mount its tokens are for. Default `/tasks`. */
  path?: string | undefined;
  /** Path a login leads to when no page was asked for. Default `/`. */
  home?: string | undefined;
  cookie?: CookieOptions | undefined;
  /** Keeps what several processes must agree on, such as revocations. Default: the memory of this process. */
  store?: SharedStore | undefined;
  /** Origins beside this host's own that may send forms here, such as `https://app.example`. */
  trustedOrigins?: readonly string[] | undefined;
  /** Shown on the login page. Default `koa-taskflow`. */
  title?: string | undefined;
  /** Address of the login page as seen from outside, where the login stands under a mount and guards outside it. */
  loginUrl?: string | undefined;
  /** The app's pino logger, or `false` for silence. */
  logger?: Logger | false | undefined;
}

/** What the middlewares of a login share. It is an {@link Access}, so it also guards the dashboard. */
export interface Auth extends Access {
  /** The configured `path`. */
  readonly path: string;
  loginUrl(ctx: Context): string;
  logoutUrl(ctx: Context): string;
  ended(ctx: Context): AbortSignal;
}

/** The inside of an {@link Auth}. Kept apart from it, so that printing or serialising one shows no key. */
export interface AuthParts {
  mount: Mount;
  registry: StrategyRegistry;
  tokens: Tokens;
  cookie: SessionCookie;
  revocations: Revocations;
  log: AuthLog;
  logger: Logger;
  home: string;
  title: string;
  tokenExpiry: number;
  trustedOrigins: readonly string[];
}

const parts = new WeakMap<object, AuthParts>();

/** Whether the value is what {@link createAuth} returned. */
export function isAuth(value: unknown): value is Auth {
  return typeof value === 'object' && value !== null && parts.has(value);
}

/** The inside of what {@link createAuth} returned; throws for anything else. */
export function partsOf(auth: Auth): AuthParts {
  const found = typeof auth === 'object' && auth !== null ? parts.get(auth) : undefined;
  if (!found) throw wrongType('auth', auth, 'what createAuth() returned');
  return found;
}

const known = [
  'strategies',
  'secretKey',
  'tokenExpiry',
  'path',
  'home',
  'cookie',
  'store',
  'trustedOrigins',
  'title',
  'loginUrl',
  'logger',
] as const;

/**
 * Makes a login that any route of a Koa app can use.
 *
 * @throws TypeError or RangeError at once for a wrong option, naming it and what is accepted, never the value of a secret.
 * @example
 * ```ts
 * const auth = createAuth({ strategies: ['admin', process.env.ADMIN_PASSWORD], secretKey: process.env.TASKFLOW_SECRET_KEY });
 * app.use(sessionToken(auth));
 * app.use(loginRoutes(auth));
 * router.get('/reports', requireAuth('redirect'), showReports);
 * ```
 */
export function createAuth(options: AuthOptions): Auth {
  const given = optionsObject<AuthOptions>('createAuth', options, known);
  const logger = loggerOption('logger', given.logger);
  const mount = mountAt(pathOption('path', given.path));
  const registry = resolveStrategies('strategies', given.strategies);
  const secretKeys = secretKeysOf(given, logger);
  const tokenExpiry = secondsOption('tokenExpiry', given.tokenExpiry, 86_400);
  const loginUrl = urlOption(given.loginUrl);
  const own: AuthParts = {
    mount,
    registry,
    tokens: createTokens({ secretKeys, audience: mount.path, tokenExpiry, now: Date.now }),
    cookie: sessionCookie(given.cookie, mount.path),
    revocations: followRevocations(storeOption(given.store), Date.now),
    log: authLog({ logger, mount: mount.path, registry, secretKeys }),
    logger,
    home: homeOption(given.home),
    title: stringOption('title', given.title, 'koa-taskflow', { maxLength: 100 }),
    tokenExpiry,
    trustedOrigins: trustedOriginsOption('trustedOrigins', given.trustedOrigins),
  };

  const auth: Auth = {
    path: mount.path,
    async who(ctx) {
      const session = await currentSession(ctx, auth, own);
      return session && { name: session.username, roles: session.roles };
    },
    loginUrl(ctx) {
      const next = nextOf(ctx);
      const page = loginUrl ?? `${mount.outside(ctx)}/auth/login`;
      return next === undefined ? page : `${page}?next=${encodeURIComponent(next)}`;
    },
    logoutUrl: (ctx) => `${mount.outside(ctx)}/auth/logout`,
    ended: (ctx) => endSignal(ctx, auth, own),
  };
  parts.set(auth, own);
  return Object.freeze(auth);
}

function secretKeysOf(given: AuthOptions, logger: Logger): readonly string[] {
  if (given.secretKey !== undefined) return secretKeysOption(given.secretKey);
  logger.warn({ event: 'sys_startup' }, 'no secretKey: sessions end at a restart, and other processes will not know them');
  return [randomBytes(32).toString('base64url')];
}

function homeOption(value: unknown): string {
  const home = stringOption('home', value, '/', { maxLength: 2048 });
  if (!isSafeNext(home)) throw wrongType('home', value, "a path of this app, such as '/tasks/dashboard'");
  return home;
}

function urlOption(value: unknown): string | undefined {
  return stringOption('loginUrl', value, undefined, {
    maxLength: 2048,
    pattern: /^(https?:\/\/[^\s?#]+|\/(?!\/)[!-~]*)$/,
    accepted: 'a path or an http(s) URL without a query',
  });
}

function storeOption(store: SharedStore | undefined): SharedStore {
  if (store === undefined) return memoryStore();
  if (typeof store !== 'object' || store === null || typeof store.watch !== 'function')
    throw wrongType('store', store, 'a SharedStore, such as tasks.store');
  return store;
}
