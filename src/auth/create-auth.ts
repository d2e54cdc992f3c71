import type { Context } from 'koa';
import { memoryStore } from '../store/memory-store.js';
import { appSignIn, checkUser } from './app-sign-in.js';
import { type AuditTrail, auditTrail } from './audit-trail.js';
import { type Auth, type AuthInternals, keepInternals } from './auth.js';
import { authLog } from './auth-log.js';
import { type AuthOptions, authOptions, type CheckedAuthOptions } from './auth-options.js';
import { countWrongToken, createAuthenticate } from './authenticate.js';
import { createCipher } from './cipher.js';
import { createLogIn } from './login.js';
import { loginPages, signInMethods } from './login-pages.js';
import { nextOf } from './next.js';
import { loginPaths } from './openapi.js';
import { type ProxyAdvice, proxyAdvice } from './proxy-advice.js';
import { redirectAttempts } from './redirects/attempts.js';
import { providers as providersOf } from './redirects/providers.js';
import { publicUrls } from './redirects/public-url.js';
import { redirectRoutes } from './redirects/redirect-routes.js';
import { createKeyRing } from './secrets/key-ring.js';
import { sessionParts } from './session-parts.js';
import { sessionRoutes } from './session-routes.js';
import { endSignals } from './sessions/end-signal.js';
import { SessionOpener } from './sessions/session-opener.js';
import { clockSkew } from './sessions/tokens.js';
import { createSignIn } from './sign-in.js';
import { signInRoutes } from './sign-in-routes.js';
import { attachStrategies } from './strategies/attach.js';
import { passwordWarningsOf, weakPassword } from './strategies/configured-user.js';
import { strategyHealth } from './strategies/health.js';
import { ownersNow } from './strategies/owners.js';
import type { EndedUser, StrategyParts } from './strategies/strategy.js';
import { issuerIn } from './strategies/token-issuer.js';
import { strategyRoutes } from './strategy-routes.js';
import { bucketsIn } from './throttle/buckets.js';
import { familiarPlaces } from './throttle/familiar-places.js';
import { defaultQueue } from './throttle/limits.js';
import { createThrottle } from './throttle/throttle.js';
import { tokenRoutes } from './token-routes.js';

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
  const adviseOnProxy = proxyAdvice(checked);
  const loginPage = (ctx: Context): string =>
    checked.loginUrl ?? `${mount.outside(ctx)}/auth/login`;
  const { reader, usable, revocations, cookieName, endSignal, signIn, health, internals } =
    assemble(checked, trail, assetsBeside(loginPage), adviseOnProxy);
  const auth: Auth = {
    path: mount.path,
    async who(ctx) {
      await usable();
      const session = await reader.of(ctx);
      if (!session) return undefined;
      const { username: name, roles, strategy } = session;
      const hasSession = reader.identityOf(ctx) === undefined;
      return { name, roles, strategy, ambient: reader.isAmbient(ctx), hasSession };
    },
    loginUrl(ctx) {
      adviseOnProxy(ctx);
      const next = nextOf(ctx);
      const page = loginPage(ctx);
      return next === undefined ? page : `${page}?next=${encodeURIComponent(next)}`;
    },
    logoutUrl: (ctx) => `${mount.outside(ctx)}/auth/logout`,
    describe: (path) => loginPaths(internals.routes(), path),
    strategies: () => registry.names(),
    login: () => ({
      methods: signInMethods(registry),
      issuesTokens: internals.issuer !== undefined,
    }),
    cookieName,
    usable: async () => usable(),
    ended: endSignal,
    signIn,
    health,
    ...trail,
    async signOutEverywhere(strategy, username) {
      checkUser('signOutEverywhere', registry, strategy, username);
      await revocations.ready();
      await revocations.endAll(strategy, username);
    },
  };
  return keepInternals(auth, internals);
}

/** Maximum number of failure counts in memory, if the app has no store. */
const throttleKeys = 10_000;

/** Creates all parts of a login. Returns those that its methods and middlewares use. */
function assemble(
  checked: CheckedAuthOptions,
  trail: AuditTrail,
  assets: AuthInternals['assets'],
  adviseOnProxy: ProxyAdvice,
) {
  const { mount, registry, cookies, keySources, store, limits, logger } = checked;
  const { tokenExpiry, idleTimeout, trustedOrigins } = checked;
  const keys = createKeyRing({ sources: keySources, tokenExpiry });
  const logKeys = { secretKeys: keys.secrets, hashKeys: keys.derived('username hash') };
  const log = authLog({ logger, trail, mount: mount.path, registry, ...logKeys });
  const prefix = `auth:${mount.path}:`;
  const now = Date.now;
  const health = strategyHealth({
    ...{ registry, store, logger, now, secretKeys: keys.secrets },
    ...{ mount: mount.path, prefix: `${prefix}health:` },
  });
  const own = sessionParts(checked, { keys, log, health, prefix, now });
  const { tokens, users, revocations, sessions, usable, reader, requests, open, devices } = own;
  announce(checked, tokens.keyIds);
  for (const source of keySources) source.logTo(logger, { mount: mount.path });
  keys.onChange(() =>
    logger.info({ mount: mount.path, keyIds: tokens.keyIds }, 'the secret keys have changed'),
  );
  const endSessions = async (
    strategy: string,
    { username, sessionId }: EndedUser,
  ): Promise<void> => {
    await revocations.ready();
    if (sessionId === undefined) return revocations.endAll(strategy, username);
    await revocations.end(sessionId, new Date(now() + tokenExpiry * 1000));
  };
  const hasEnded = async (
    strategy: string,
    { username, sessionId: id, since }: Parameters<StrategyParts['hasEnded']>[0],
  ): Promise<boolean> => {
    await revocations.ready();
    const listed = await sessions.find({ strategy, username, id });
    // A session leaves the list when it ends. A sign-out everywhere is stored with a time that lies
    // ahead by the difference that clocks may have.
    const { startedAt = since + clockSkew * 1000, signOut = 0 } = listed ?? {};
    const session = { strategy, username, id, authenticatedAt: new Date(startedAt) };
    return revocations.has(session, signOut);
  };
  attachStrategies({
    ...{ registry, path: mount.path, store, prefix, now, logger },
    keys: keys.derived('strategy data'),
    ...{ storeLasts: !checked.hasOwnStore, tokenExpiry, endSessions, hasEnded },
    usersChanged: users.changed,
    ownerOf: ownersNow(registry, users),
    countWrongToken: (ctx) => countWrongToken(ctx, throttle, log),
    record: trail.record,
  });

  const familiarBuckets = bucketsIn(store, `${prefix}throttle:`);
  // Without a store of the app, failures are counted in a separate memory store. A flood of
  // failures then cannot displace sessions.
  const buckets = checked.hasOwnStore
    ? bucketsIn(memoryStore({ maxKeys: throttleKeys }), '')
    : familiarBuckets;
  const throttle = createThrottle({
    limits,
    buckets,
    familiarBuckets,
    keys: keys.derived('throttle'),
    now,
  });
  const networks = `${prefix}networks:`;
  const familiar = familiarPlaces({ store, prefix: networks, registry, users, revocations, now });
  const queue = limits ? limits.queue : defaultQueue;
  const checks = { registry, users, revocations, familiar, throttle, log, health, queue };
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
  const opener = new SessionOpener(opens);
  const signIn = createSignIn({ registry, users, revocations, opener, log });
  const logIn = createLogIn({
    authenticate: createAuthenticate(checks),
    opener,
    familiar,
    log,
    floor: limits ? limits.floor : 0,
  });
  const forget = (ctx: Context): void => {
    cookies.session.clear(ctx);
    devices.signedOut(ctx);
  };
  const { home, title, logo, messages, passwordHelp, autoStart, publicUrl } = checked;
  const cipherFor = (use: string) => createCipher(keys.derived('attempt'), `${mount.path} ${use}`);
  const cipher = cipherFor('attempt');
  const attemptPrefix = `${prefix}attempt:`;
  const attempts = redirectAttempts({ cookies, cipher, store, prefix: attemptPrefix, now });
  const providers = providersOf({
    ...{ registry, log, health },
    urlOf: publicUrls({ mount, publicUrl, logger }),
  });
  const pages = loginPages({ title, logo, messages, passwordHelp, mount, registry, devices });
  const common = {
    ...{ mount, reader, tokens, cookies, devices, throttle, log, pages, home, usable, health },
    adviseOnProxy,
  };
  const issuer = issuerIn(registry);
  const isStrict = checked.cookie.sameSite === 'strict';
  const routes: AuthInternals['routes'] = () => [
    ...signInRoutes({
      ...common,
      ...{ registry, revocations, logIn, tokenExpiry },
      ...{ attempts, providers, autoStart, cipher: cipherFor('logout') },
    }),
    ...redirectRoutes({ ...common, providers, attempts, signIn, endSessions, isStrict }),
    ...strategyRoutes(health),
    ...sessionRoutes({ reader, registry, open, revocations, log, forget }),
    ...(issuer ? tokenRoutes({ reader, issuer, log, now }) : []),
  ];
  const internals = {
    reader,
    mount,
    registry,
    options: checked,
    secrets: keys.secrets,
    get keyIds() {
      return tokens.keyIds;
    },
    trustedOrigins,
    logger,
    assets,
    routes,
    issuer,
  };
  return {
    reader,
    usable,
    revocations,
    internals,
    health: health.all,
    signIn: appSignIn({ registry, reader, cookies, devices, tokens, signIn, usable }),
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
      logger.warn({ event: 'sys_startup', mount, strategy: name, weakness }, weakPassword);
  }
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
