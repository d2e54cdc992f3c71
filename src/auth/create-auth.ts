import type { Context } from 'koa';
import { outOfRange, wrongType } from '../options.js';
import { memoryStore } from '../store/memory-store.js';
import { type AuditTrail, auditTrail } from './audit-trail.js';
import { type Auth, type AuthInternals, keepInternals } from './auth.js';
import { type AuthLog, authLog } from './auth-log.js';
import { type AuthOptions, authOptions, type CheckedAuthOptions } from './auth-options.js';
import { createAuthenticate } from './authenticate.js';
import { deriveKeys, type KeyUse, macOf } from './keys.js';
import { createLogIn } from './login.js';
import { nextOf } from './next.js';
import { loginPaths } from './openapi.js';
import { proxyAdvice } from './proxy-advice.js';
import { sessionRoutes } from './session-routes.js';
import { SessionReader } from './sessions/current-session.js';
import { deviceCookies } from './sessions/device-cookies.js';
import { endSignals } from './sessions/end-signal.js';
import { idleRenewal } from './sessions/idle-timeout.js';
import { OpenSessions } from './sessions/open-sessions.js';
import { requestIdentities } from './sessions/request-identity.js';
import { followRevocations } from './sessions/revocations.js';
import { sessionList } from './sessions/session-list.js';
import { SessionOpener } from './sessions/session-opener.js';
import { createTokens } from './sessions/tokens.js';
import { signInRoutes } from './sign-in-routes.js';
import { attachStrategies } from './strategies/attach.js';
import { passwordWarningsOf } from './strategies/configured-user.js';
import { knownUsers } from './strategies/known-users.js';
import type { StrategyRegistry } from './strategies/registry.js';
import { isUserName } from './strategies/strategy.js';
import { bucketsIn } from './throttle/buckets.js';
import { familiarPlaces } from './throttle/familiar-places.js';
import { defaultQueue } from './throttle/limits.js';
import { createThrottle } from './throttle/throttle.js';

/*
 * Assembles a login. `authOptions` checks the options. This file creates the parts in the order of
 * their dependencies and passes to each part only what it uses:
 *
 * - Sessions (`sessions/`): tokens, cookies, revocations and the session list.
 * - Users (`strategies/`): the registry of strategies and `KnownUsers`.
 * - Limits of login attempts (`throttle/`): the throttle and familiar places.
 *
 * Requests use these parts through `SessionReader` (reads the session of a request), `logIn` (signs
 * a user in) and `OpenSessions` (lists and ends the sessions of a user).
 */

/**
 * Creates a login that any route of a Koa app can use.
 *
 * @throws TypeError or RangeError at once for a wrong option. The error names the option and the
 * accepted values, and never contains a secret.
 * @example
 * ```ts
 * const auth = createAuth({
 *   strategies: ['admin', process.env.ADMIN_PASSWORD],
 *   secretKey: process.env.TASKFLOW_SECRET_KEY,
 * });
 * app.use(sessionToken(auth));
 * app.use(loginRoutes(auth));
 * router.get('/reports', requireAuth('redirect'), showReports);
 * ```
 */
export function createAuth(options: AuthOptions): Auth {
  const checked = authOptions(options);
  const { mount, registry, retentionDays, store, logger } = checked;
  const trail = auditTrail({ store, path: mount.path, retentionDays, logger });
  const loginPage = (ctx: Context): string =>
    checked.loginUrl ?? `${mount.outside(ctx)}/auth/login`;
  const { reader, ownStore, revocations, cookieName, endSignal, internals } = assemble(
    checked,
    trail,
    assetsBeside(loginPage),
  );
  const auth: Auth = {
    path: mount.path,
    async who(ctx) {
      await ownStore();
      const session = await reader.of(ctx);
      if (!session) return undefined;
      const { username: name, roles, strategy } = session;
      const hasSession = reader.identityOf(ctx) === undefined;
      return { name, roles, strategy, ambient: reader.isAmbient(ctx), hasSession };
    },
    loginUrl(ctx) {
      const next = nextOf(ctx);
      const page = loginPage(ctx);
      return next === undefined ? page : `${page}?next=${encodeURIComponent(next)}`;
    },
    logoutUrl: (ctx) => `${mount.outside(ctx)}/auth/logout`,
    describe: (path) => loginPaths(internals.routes(), path),
    strategies: () => registry.names(),
    cookieName,
    usable: async () => ownStore(),
    ended: endSignal,
    ...trail,
    async signOutEverywhere(strategy, username) {
      checkUser(registry, strategy, username);
      await revocations.ready();
      await revocations.endAll(strategy, username);
    },
  };
  return keepInternals(auth, internals);
}

/** Maximum number of failure counts in memory, if the app has no store. */
const throttleKeys = 10_000;

interface SessionContext {
  keysFor: (use: KeyUse) => readonly Buffer[];
  log: AuthLog;
  /** Prefix of all keys of this login in the store. */
  prefix: string;
  /** Returns the present time in Unix milliseconds. */
  now: () => number;
}

/** Creates the parts that read, open and end sessions. */
function sessionParts(checked: CheckedAuthOptions, { keysFor, log, prefix, now }: SessionContext) {
  const { mount, registry, cookies, secretKeys, store } = checked;
  const { tokenExpiry, idleTimeout, maxSessions } = checked;
  const cookie = cookies.session;
  const audience = mount.path;
  const tokens = createTokens({ secretKeys, audience, tokenExpiry, idleTimeout, now });
  const users = knownUsers(registry, keysFor('session version'));
  const revocations = followRevocations({ store, prefix: `${prefix}revoked:`, tokenExpiry, now });
  const sessions = sessionList(store, `${prefix}session:`, now);
  // A random key does not identify the app, so it makes no claim on the store.
  const keys = checked.hasRandomKey ? [] : keysFor('store owner');
  const claimed = store.claim?.(
    mount.path,
    keys.map((key) => macOf(key, mount.path)),
  );
  const ownStore = claimed ?? (() => undefined);
  const renew =
    idleTimeout === undefined
      ? undefined
      : idleRenewal({ tokens, cookie, sessions, log, tokenExpiry, idleTimeout });
  const shared = { tokens, revocations, log };
  const requests = requestIdentities(registry, { users, log });
  const reader = new SessionReader({
    ...shared,
    cookie,
    users,
    sessions,
    ownStore,
    renew,
    requests,
  });
  const open = new OpenSessions({ ...shared, list: sessions, tokenExpiry, maxSessions });
  const device = { cookie: cookies.device, keys: keysFor('device cookie'), audience, now };
  return {
    tokens,
    users,
    revocations,
    sessions,
    ownStore,
    reader,
    requests,
    open,
    devices: deviceCookies(device),
  };
}

/** Creates all parts of a login. Returns those that its methods and middlewares use. */
function assemble(checked: CheckedAuthOptions, trail: AuditTrail, assets: AuthInternals['assets']) {
  const { mount, registry, cookies, secretKeys, store, limits, logger } = checked;
  const { tokenExpiry, idleTimeout, trustedOrigins } = checked;
  const keysFor = (use: KeyUse): readonly Buffer[] => deriveKeys(secretKeys, use);
  const [hashKey] = keysFor('username hash');
  const [throttleKey] = keysFor('throttle');
  const log = authLog({ logger, trail, mount: mount.path, registry, secretKeys, hashKey });
  const prefix = `auth:${mount.path}:`;
  const now = Date.now;
  const own = sessionParts(checked, { keysFor, log, prefix, now });
  const { tokens, users, revocations, sessions, ownStore, reader, requests, open, devices } = own;
  announce(checked, tokens.keyIds);
  attachStrategies({
    ...{ registry, path: mount.path, store, prefix, keys: keysFor('strategy data'), now, logger },
    ...{ storeLasts: !checked.hasOwnStore, tokenExpiry },
    async endSessions(strategy, { username, sessionId }) {
      await revocations.ready();
      if (sessionId === undefined) return revocations.endAll(strategy, username);
      await revocations.end(sessionId, new Date(now() + tokenExpiry * 1000));
    },
  });

  const familiarBuckets = bucketsIn(store, `${prefix}throttle:`);
  // Without a store of the app, failures are counted in a separate memory store. A flood of
  // failures then cannot displace sessions.
  const buckets = checked.hasOwnStore
    ? bucketsIn(memoryStore({ maxKeys: throttleKeys }), '')
    : familiarBuckets;
  const throttle = createThrottle({ limits, buckets, familiarBuckets, key: throttleKey, now });
  const networks = `${prefix}networks:`;
  const familiar = familiarPlaces({ store, prefix: networks, registry, users, revocations, now });
  const queue = limits ? limits.queue : defaultQueue;
  const checks = { registry, users, revocations, familiar, throttle, log, queue };
  const opens = {
    tokens,
    reader,
    revocations,
    list: sessions,
    open,
    log,
    tokenExpiry,
    idleTimeout,
  };
  const logIn = createLogIn({
    authenticate: createAuthenticate(checks),
    opener: new SessionOpener(opens),
    familiar,
    log,
    floor: limits ? limits.floor : 0,
  });
  const adviseOnProxy = proxyAdvice(logger);
  const forget = (ctx: Context): void => {
    cookies.session.clear(ctx);
    devices.signedOut(ctx);
  };
  const { home, title, logo } = checked;
  const routes: AuthInternals['routes'] = () => [
    ...signInRoutes({
      ...{ mount, reader, registry, tokens, cookies, devices, revocations, throttle, log, logIn },
      ...{ tokenExpiry, home, title, logo, ownStore, adviseOnProxy },
    }),
    ...sessionRoutes({ reader, registry, open, revocations, log, forget }),
  ];
  const internals = {
    reader,
    mount,
    keyIds: tokens.keyIds,
    trustedOrigins,
    logger,
    assets,
    routes,
  };
  return {
    reader,
    ownStore,
    revocations,
    internals,
    cookieName: (ctx: Context): string => cookies.session.nameFor(ctx),
    endSignal: endSignals({
      reader,
      requests,
      tokens,
      revocations,
      users,
      sessions,
      log,
      logger,
      idleTimeout,
    }),
  };
}

/** Logs the configuration of the login, and a warning for each weakness. */
function announce(
  { logger, registry, mount: { path: mount }, hasRandomKey: randomKey }: CheckedAuthOptions,
  keyIds: readonly string[],
): void {
  const strategies = registry.names();
  logger.info({ event: 'sys_startup', mount, strategies, keyIds, randomKey }, 'login ready');
  if (randomKey) {
    logger.warn(
      { event: 'sys_startup', mount },
      'no secretKey: sessions end at a restart, and other processes (a cluster, replicas) refuse ' +
        'the sessions of this process',
    );
  }
  for (const name of strategies) {
    const strategy = registry.get(name);
    for (const weakness of strategy ? passwordWarningsOf(strategy) : [])
      logger.warn(
        { event: 'sys_startup', mount, strategy: name, weakness },
        'a configured password is weak or looks wrong; create a hash with: npx koa-taskflow hash',
      );
  }
}

/**
 * Rejects a strategy or a name that cannot belong to a user. With a misspelt strategy, the call
 * would seem to succeed without signing anyone out.
 */
function checkUser(registry: StrategyRegistry, strategy: unknown, username: unknown): void {
  const names = registry.names();
  const accepted =
    `the name of a strategy (${names.join(', ')}), ` +
    'as in signOutEverywhere(strategy, username)';
  if (typeof strategy !== 'string')
    throw wrongType('strategy of signOutEverywhere', strategy, accepted);
  if (!registry.get(strategy))
    throw outOfRange('strategy of signOutEverywhere', strategy, accepted);
  if (!isUserName(username))
    throw wrongType(
      'username of signOutEverywhere',
      username,
      'a string of 1 to 256 printable characters',
    );
}

/**
 * Returns the function that derives the URL of the style from the URL of the login page. A guard
 * may be outside the mount of its login.
 */
function assetsBeside(loginPage: (ctx: Context) => string): (ctx: Context) => string | undefined {
  return (ctx) => {
    const page = loginPage(ctx);
    return page.endsWith('/auth/login') ? `${page.slice(0, -'/login'.length)}/assets` : undefined;
  };
}
