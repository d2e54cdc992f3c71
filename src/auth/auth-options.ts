import { randomBytes } from 'node:crypto';
import { type Mount, mountAt } from '../http/mount.js';
import { trustedOriginsOption } from '../http/same-origin.js';
import {
  checkSeconds,
  durationWarnings,
  type Logger,
  loggerOption,
  logoOption,
  numberOption,
  optionsObject,
  pathOption,
  secondsOption,
  stringOption,
  typeError,
  wrongType,
} from '../options.js';
import { secretKeysOption } from '../secret-options.js';
import { kindOf } from '../show-value.js';
import { memoryStore } from '../store/memory-store.js';
import type { SharedStore } from '../store/shared-store.js';
import { retentionOption } from './audit-trail.js';
import { isSafeNext } from './next.js';
import { type CookieOptions, type Cookies, loginCookies } from './sessions/cookies.js';
import { StrategyRegistry } from './strategies/registry.js';
import { resolveStrategies, type Strategies } from './strategies/short-forms.js';
import { isStrategy } from './strategies/strategy.js';
import { type ThrottleLimits, type ThrottleOptions, throttleOption } from './throttle/limits.js';
import { limitedStore } from './time-limit.js';

/** Options of {@link createAuth}. */
export interface AuthOptions {
  /**
   * Who can log in: a {@link StrategyRegistry}, one strategy, `['admin', 'secret']`, or a list of
   * users.
   */
  strategies: Strategies;
  /**
   * Signs the session tokens: at least 32 random characters, or a list of such keys, of which the
   * first signs and all verify. Default: a random key for this process, so that a restart ends all
   * sessions.
   */
  secretKey?: string | readonly string[] | undefined;
  /** Seconds a session lasts from the login. Default 86400. */
  tokenExpiry?: number | undefined;
  /**
   * Seconds after which a session ends if the user opens no page and makes no change. A page that
   * is only left open does not count as use. A Bearer token expires this many seconds after its
   * login. Default: no limit.
   */
  idleTimeout?: number | undefined;
  /**
   * Sessions that a user can have at once. The next login ends the least recently used session.
   * From 1 to 10,000; default 100.
   */
  maxSessions?: number | undefined;
  /** The path of the login's routes. Tokens are valid for this path only. Default `/tasks`. */
  path?: string | undefined;
  /** The path to which a login redirects if no page was requested. Default `/`. */
  home?: string | undefined;
  cookie?: CookieOptions | undefined;
  /**
   * Keeps the state that processes share: sessions, revocations, the throttle and the audit.
   * Default: the memory of this process.
   */
  store?: SharedStore | undefined;
  /** Limits of login attempts; `false` for no limit. */
  throttle?: ThrottleOptions | false | undefined;
  /** Days for which the audit keeps an event. Default 90. */
  auditRetentionDays?: number | undefined;
  /** Origins other than this host's own that may send forms, such as `https://app.example`. */
  trustedOrigins?: readonly string[] | undefined;
  /** Shown on the login page. Default `koa-taskflow`. */
  title?: string | undefined;
  /**
   * Path of an image on this host, or a `data:` URL, shown on the login page instead of the default
   * logo.
   */
  logo?: string | undefined;
  /**
   * The URL of the login page as a browser sees it. Needed if the login is under a koa-mount and
   * guards are outside it.
   */
  loginUrl?: string | undefined;
  /** The app's pino logger, or `false` to log nothing. */
  logger?: Logger | false | undefined;
}

/** The checked options. */
export interface CheckedAuthOptions {
  readonly mount: Mount;
  readonly registry: StrategyRegistry;
  readonly secretKeys: readonly string[];
  /** Whether the key was made for this process, because the app gave none. */
  readonly hasRandomKey: boolean;
  readonly tokenExpiry: number;
  readonly idleTimeout: number | undefined;
  readonly maxSessions: number;
  readonly cookies: Cookies;
  readonly store: SharedStore;
  /** Whether the store is the memory of this login alone. */
  readonly hasOwnStore: boolean;
  readonly limits: ThrottleLimits | false;
  readonly retentionDays: number;
  readonly trustedOrigins: readonly string[];
  readonly home: string;
  readonly title: string;
  readonly logo: string | undefined;
  readonly loginUrl: string | undefined;
  readonly logger: Logger;
}

const known = [
  'strategies',
  'secretKey',
  'tokenExpiry',
  'idleTimeout',
  'maxSessions',
  'path',
  'home',
  'cookie',
  'store',
  'throttle',
  'auditRetentionDays',
  'trustedOrigins',
  'title',
  'logo',
  'loginUrl',
  'logger',
] as const;

/** Checks the options of `createAuth` and fills in the defaults. */
export function authOptions(options: AuthOptions): CheckedAuthOptions {
  refuseStrategies(options);
  const given = optionsObject<AuthOptions>('createAuth', options, known);
  const logger = loggerOption('logger', given.logger);
  const mount = mountAt(pathOption('path', given.path));
  const loginUrl = urlOption(given.loginUrl);
  const store = limitedStore(storeOption(given.store));
  const retentionDays = retentionOption(given.auditRetentionDays);
  const registry = resolveStrategies('strategies', given.strategies);
  const hasRandomKey = given.secretKey === undefined;
  const secretKeys = hasRandomKey
    ? [randomBytes(32).toString('base64url')]
    : secretKeysOption('secretKey', given.secretKey);
  const warn = durationWarnings(logger);
  // The registry has no logger.
  checkSeconds('timeLimit', registry.timeLimit, warn);
  const maxSessions = { min: 1, max: 10_000, integer: true };
  return {
    mount,
    registry,
    secretKeys,
    hasRandomKey,
    tokenExpiry: secondsOption('tokenExpiry', given.tokenExpiry, 86_400, { warn }),
    idleTimeout: secondsOption('idleTimeout', given.idleTimeout, undefined, { warn }),
    limits: throttleOption(given.throttle),
    cookies: loginCookies(given.cookie, mount.path),
    store,
    hasOwnStore: given.store === undefined,
    retentionDays,
    home: homeOption(given.home),
    title: stringOption('title', given.title, 'koa-taskflow', { maxLength: 100 }),
    logo: logoOption(given.logo),
    maxSessions: numberOption('maxSessions', given.maxSessions, 100, maxSessions),
    trustedOrigins: trustedOriginsOption('trustedOrigins', given.trustedOrigins),
    loginUrl,
    logger,
  };
}

/**
 * Refuses strategies that are passed instead of the options: an instance of a class would be taken
 * for options without keys.
 */
function refuseStrategies(options: unknown): void {
  if (Array.isArray(options) || options instanceof StrategyRegistry || isStrategy(options))
    throw typeError(
      `the options of createAuth are ${kindOf(options)}; ` +
        'pass strategies as createAuth({ strategies })',
    );
}

function homeOption(value: unknown): string {
  const home = stringOption('home', value, '/', { maxLength: 2048 });
  if (!isSafeNext(home))
    throw wrongType('home', value, "a path of this app, such as '/tasks/dashboard'");
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
  if (
    typeof store !== 'object' ||
    store === null ||
    typeof store.watch !== 'function' ||
    typeof store.list !== 'function'
  )
    throw wrongType('store', store, 'a SharedStore with watch() and list(), such as tasks.store');
  return store;
}
