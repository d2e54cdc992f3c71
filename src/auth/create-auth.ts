import { randomBytes } from 'node:crypto';
import type { Context } from 'koa';
import type { Access } from '../http/access.js';
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
  outOfRange,
  pathOption,
  secondsOption,
  secretKeysOption,
  stringOption,
  typeError,
  wrongType,
} from '../options.js';
import { kindOf } from '../show-value.js';
import { memoryStore } from '../store/memory-store.js';
import type { SharedStore } from '../store/shared-store.js';
import { type AuditTrail, auditTrail, retentionOption } from './audit-trail.js';
import { type AuthLog, authLog } from './auth-log.js';
import { deriveKeys, type KeyUse, macOf } from './keys.js';
import { isSafeNext, nextOf } from './next.js';
import { loginPaths } from './openapi.js';
import { proxyAdvice } from './proxy-advice.js';
import { type CookieOptions, type Cookies, loginCookies } from './sessions/cookies.js';
import { currentSession, isAmbient } from './sessions/current-session.js';
import { type Devices, deviceCookies } from './sessions/device-cookies.js';
import { endSignal } from './sessions/end-signal.js';
import { followRevocations, type Revocations } from './sessions/revocations.js';
import { type SessionList, sessionList } from './sessions/session-list.js';
import { createTokens, type Tokens } from './sessions/tokens.js';
import { type KnownUsers, knownUsers } from './strategies/known-users.js';
import { passwordWarningsOf } from './strategies/multi-user.js';
import { StrategyRegistry } from './strategies/registry.js';
import { resolveStrategies, type Strategies } from './strategies/short-forms.js';
import { isStrategy, isUserName } from './strategies/strategy.js';
import { bucketsIn } from './throttle/buckets.js';
import { type FamiliarPlaces, familiarPlaces } from './throttle/familiar-places.js';
import {
  createThrottle,
  defaultQueue,
  type Throttle,
  type ThrottleLimits,
  type ThrottleOptions,
  throttleOption,
} from './throttle/throttle.js';

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
  /**
   * Seconds without a page opened or a change made after which a session ends, however long it could last. A page that is
   * only left open is no use. A Bearer token ends so many seconds after its login. Default: none.
   */
  idleTimeout?: number | undefined;
  /**
   * Sessions that a user can have at once. The next login ends the least recently used session. From 1 to 10,000; default 100.
   */
  maxSessions?: number | undefined;
  /** Where the login's routes stand, and the mount its tokens are for. Default `/tasks`. */
  path?: string | undefined;
  /** Path a login leads to when no page was asked for. Default `/`. */
  home?: string | undefined;
  cookie?: CookieOptions | undefined;
  /**
   * Keeps what several processes must agree on: sessions, revocations, the throttle and the audit. Default: the memory of
   * this process.
   */
  store?: SharedStore | undefined;
  /** How often a login may be tried; `false` for no limit. */
  throttle?: ThrottleOptions | false | undefined;
  /** Days for which the audit keeps what happened. Default 90. */
  auditRetentionDays?: number | undefined;
  /** Origins beside this host's own that may send forms here, such as `https://app.example`. */
  trustedOrigins?: readonly string[] | undefined;
  /** Shown on the login page. Default `koa-taskflow`. */
  title?: string | undefined;
  /** Path of an image on this host, or a `data:` URL, shown on the login page instead of the suite's own. */
  logo?: string | undefined;
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
  /**
   * Ends all sessions of a user, their streams, and logins in progress, in all processes that share the store. Use it after a
   * password change that `find_user` does not report. `username` is the canonical name that the strategy returns. Names
   * that differ only in case, width or invisible characters count as the same user. Resolves when the store has recorded it.
   *
   * @throws TypeError or RangeError (rejects) if the strategy is not registered or the name is not valid. TaskflowError
   * STORE_UNAVAILABLE if the store does not answer.
   */
  signOutEverywhere(strategy: string, username: string): Promise<void>;
}

/** The inside of an {@link Auth}. Kept apart from it, so that printing or serialising one shows no key. */
export interface AuthParts {
  mount: Mount;
  registry: StrategyRegistry;
  tokens: Tokens;
  cookies: Cookies;
  devices: Devices;
  users: KnownUsers;
  familiar: FamiliarPlaces;
  sessions: SessionList;
  revocations: Revocations;
  throttle: Throttle;
  limits: ThrottleLimits | false;
  /** Password checks that may wait. */
  queue: number;
  log: AuthLog;
  adviseOnProxy: (ctx: Context) => void;
  logger: Logger;
  home: string;
  title: string;
  logo: string | undefined;
  tokenExpiry: number;
  idleTimeout: number | undefined;
  maxSessions: number;
  trustedOrigins: readonly string[];
  /** `undefined` if the store is this login's. Otherwise rejects with STORE_UNAVAILABLE if it belongs to another app. */
  ownStore: () => Promise<void> | undefined;
  /** Where the style of the login's pages is served, as the browser sees it. */
  assets: (ctx: Context) => string | undefined;
}

const parts = new WeakMap<object, AuthParts>();

/** Whether the value is what {@link createAuth} returned. */
export function isAuth(value: unknown): value is Auth {
  return typeof value === 'object' && value !== null && parts.has(value);
}

/** The inside of what {@link createAuth} returned; throws for anything else. */
export function partsOf(auth: Auth): AuthParts {
  const found = typeof auth === 'object' && auth !== null ? parts.get(auth) : undefined;
  if (!found) throw wrongType('auth', auth, 'what createAuth() returned, such as createAuth({ strategies })');
  return found;
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
  refuseStrategies(options);
  const given = optionsObject<AuthOptions>('createAuth', options, known);
  const logger = loggerOption('logger', given.logger);
  const mount = mountAt(pathOption('path', given.path));
  const loginUrl = urlOption(given.loginUrl);
  const loginPage = (ctx: Context): string => loginUrl ?? `${mount.outside(ctx)}/auth/login`;
  const store = storeOption(given.store);
  const trail = auditTrail({ store, path: mount.path, retentionDays: retentionOption(given.auditRetentionDays), logger });
  const own = { ...assemble(given, { logger, mount, store, trail }), assets: assetsBeside(loginPage) };

  const auth: Auth = {
    path: mount.path,
    async who(ctx) {
      await own.ownStore();
      const session = await currentSession(ctx, auth, own);
      return session && { name: session.username, roles: session.roles, strategy: session.strategy, ambient: isAmbient(ctx, auth) };
    },
    loginUrl(ctx) {
      const next = nextOf(ctx);
      const page = loginPage(ctx);
      return next === undefined ? page : `${page}?next=${encodeURIComponent(next)}`;
    },
    logoutUrl: (ctx) => `${mount.outside(ctx)}/auth/logout`,
    describe: loginPaths,
    strategies: () => own.registry.names(),
    cookieName: (ctx) => own.cookies.session.nameFor(ctx),
    usable: async () => own.ownStore(),
    ended: (ctx) => endSignal(ctx, auth, own),
    ...trail,
    async signOutEverywhere(strategy, username) {
      checkUser(own.registry, strategy, username);
      await own.revocations.ready();
      await own.revocations.endAll(strategy, username);
    },
  };
  parts.set(auth, own);
  return Object.freeze(auth);
}

/** Refuses strategies in the place of the options: an instance of a class would pass for options without keys. */
function refuseStrategies(options: unknown): void {
  if (Array.isArray(options) || options instanceof StrategyRegistry || isStrategy(options))
    throw typeError(`the options of createAuth are ${kindOf(options)}; pass strategies as createAuth({ strategies })`);
}

/** Counts of strangers that are kept in memory. */
const throttleKeys = 10_000;

interface Shared {
  logger: Logger;
  mount: Mount;
  store: SharedStore;
  trail: AuditTrail;
}

/** Checks the other options and makes the parts of them. */
function assemble(given: AuthOptions, { logger, mount, store, trail }: Shared): Omit<AuthParts, 'assets'> {
  const registry = resolveStrategies('strategies', given.strategies);
  const secretKeys =
    given.secretKey === undefined ? [randomBytes(32).toString('base64url')] : secretKeysOption('secretKey', given.secretKey);
  const warn = durationWarnings(logger);
  // The registry has no logger.
  checkSeconds('timeLimit', registry.timeLimit, warn);
  const tokenExpiry = secondsOption('tokenExpiry', given.tokenExpiry, 86_400, { warn });
  const idleTimeout = secondsOption('idleTimeout', given.idleTimeout, undefined, { warn });
  const limits = throttleOption(given.throttle);
  const cookies = loginCookies(given.cookie, mount.path);
  const keysFor = (use: KeyUse): readonly Buffer[] => deriveKeys(secretKeys, use);
  const [hashKey] = keysFor('username hash');
  const [throttleKey] = keysFor('throttle');
  const now = Date.now;
  const prefix = `auth:${mount.path}:`;
  const familiarBuckets = bucketsIn(store, `${prefix}throttle:`);
  // Failures of strangers in a table of their own, so that a flood of them takes no room from sessions.
  const buckets = given.store === undefined ? bucketsIn(memoryStore({ maxKeys: throttleKeys }), '') : familiarBuckets;
  const tokens = createTokens({ secretKeys, audience: mount.path, tokenExpiry, idleTimeout, now });
  const devices = deviceCookies({ cookie: cookies.device, keys: keysFor('device cookie'), audience: mount.path, now });
  const users = knownUsers(registry, keysFor('session version'));
  const revocations = followRevocations({ store, prefix: `${prefix}revoked:`, tokenExpiry, now });
  announce(logger, registry, tokens.keyIds, given.secretKey === undefined, mount.path);
  // A random key tells nothing of the app.
  const owners = given.secretKey === undefined ? [] : keysFor('store owner').map((key) => macOf(key, mount.path));
  const ownStore = store.claim?.(mount.path, owners);
  return {
    mount,
    registry,
    tokens,
    cookies,
    devices,
    users,
    familiar: familiarPlaces({ store, prefix: `${prefix}networks:`, registry, users, revocations, devices, now }),
    sessions: sessionList(store, `${prefix}session:`, now),
    revocations,
    throttle: createThrottle({ limits, buckets, familiarBuckets, key: throttleKey, now }),
    limits,
    queue: limits ? limits.queue : defaultQueue,
    log: authLog({ logger, trail, mount: mount.path, registry, secretKeys, hashKey }),
    adviseOnProxy: proxyAdvice(logger),
    logger,
    home: homeOption(given.home),
    title: stringOption('title', given.title, 'koa-taskflow', { maxLength: 100 }),
    logo: logoOption(given.logo),
    tokenExpiry,
    idleTimeout,
    maxSessions: numberOption('maxSessions', given.maxSessions, 100, { min: 1, max: 10_000, integer: true }),
    trustedOrigins: trustedOriginsOption('trustedOrigins', given.trustedOrigins),
    ownStore: ownStore ?? (() => undefined),
  };
}

/** One line that says how the login is set up, and one for each thing about it that is weak. */
function announce(logger: Logger, registry: StrategyRegistry, keyIds: readonly string[], randomKey: boolean, mount: string): void {
  const strategies = registry.names();
  logger.info({ event: 'sys_startup', mount, strategies, keyIds, randomKey }, 'login ready');
  if (randomKey) {
    logger.warn(
      { event: 'sys_startup', mount },
      'no secretKey: sessions end at a restart, and other processes (a cluster, replicas) will refuse those of this one',
    );
  }
  for (const name of strategies) {
    const strategy = registry.get(name);
    for (const weakness of strategy ? passwordWarningsOf(strategy) : [])
      logger.warn(
        { event: 'sys_startup', mount, strategy: name, weakness },
        'a configured password is weak or doubtful; make a hash of it: npx koa-taskflow hash',
      );
  }
}

/** Refuses names that cannot match a user: with a misspelt name the call would seem to work and sign out no user. */
function checkUser(registry: StrategyRegistry, strategy: unknown, username: unknown): void {
  const names = registry.names();
  const accepted = `the name of a strategy (${names.join(', ')}), as in signOutEverywhere(strategy, username)`;
  if (typeof strategy !== 'string') throw wrongType('strategy of signOutEverywhere', strategy, accepted);
  if (!registry.get(strategy)) throw outOfRange('strategy of signOutEverywhere', strategy, accepted);
  if (!isUserName(username)) throw wrongType('username of signOutEverywhere', username, 'a string of 1 to 256 printable characters');
}

function homeOption(value: unknown): string {
  const home = stringOption('home', value, '/', { maxLength: 2048 });
  if (!isSafeNext(home)) throw wrongType('home', value, "a path of this app, such as '/tasks/dashboard'");
  return home;
}

/** A guard may stand outside the mount of its login, so only the address of the login page tells where the style is. */
function assetsBeside(loginPage: (ctx: Context) => string): (ctx: Context) => string | undefined {
  return (ctx) => {
    const page = loginPage(ctx);
    return page.endsWith('/auth/login') ? `${page.slice(0, -'/login'.length)}/assets` : undefined;
  };
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
  if (typeof store !== 'object' || store === null || typeof store.watch !== 'function' || typeof store.list !== 'function')
    throw wrongType('store', store, 'a SharedStore with watch() and list(), such as tasks.store');
  return store;
}
