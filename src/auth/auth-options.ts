import { randomBytes } from 'node:crypto';
import { type Mount, mountAt } from '../http/mount.js';
import { trustedOriginsOption } from '../http/same-origin.js';
import { type OptionsOf, optionSet, type SettingsOf, seconds, text, whole } from '../option-set.js';
import {
  checkSeconds,
  loggerOption,
  logoOption,
  outOfRange,
  pathOption,
  stringOption,
  typeError,
  wrongKind,
  wrongType,
} from '../options.js';
import { kindOf } from '../show-value.js';
import { memoryStore } from '../store/memory-store.js';
import type { SharedStore } from '../store/shared-store.js';
import { retentionOption } from './audit-trail.js';
import { type LoginMessages, messageOptions } from './messages.js';
import { isSafeNext } from './next.js';
import { fixedSecret } from './secrets/followed-secret.js';
import { type KeySource, keySourcesOption } from './secrets/key-ring.js';
import {
  type CookieOptions,
  type Cookies,
  cookieOptions,
  loginCookies,
} from './sessions/cookies.js';
import { StrategyRegistry } from './strategies/registry.js';
import { resolveStrategies, type Strategies } from './strategies/short-forms.js';
import { isRedirectStrategy, isStrategy } from './strategies/strategy.js';
import { type ThrottleLimits, throttleOption } from './throttle/limits.js';
import { limitedStore } from './time-limit.js';

/** The rows of the options. */
export const loginOptions = optionSet({
  strategies: (name, value: Strategies, warn) => {
    const registry = resolveStrategies(name, value);
    // The registry has no logger.
    checkSeconds('timeLimit', registry.timeLimit, warn);
    return registry;
  },
  /**
   * Signs the session tokens: at least 32 random characters, or a list of such keys, of which the
   * first signs and all verify. A {@link secretFile} or a function may give several keys, one per
   * line. Default: a random key for this process, so that a restart ends all sessions.
   */
  secretKey: keySourcesOption,
  /** Seconds a session lasts from the login. Default 86400. */
  tokenExpiry: seconds({ default: 86_400 }),
  /**
   * Seconds after which a session ends if the user opens no page and makes no change. A page that
   * is only left open does not count as use. A Bearer token expires this many seconds after its
   * login. Default: no limit.
   */
  idleTimeout: seconds(),
  /**
   * Sessions that a user can have at once. The next login ends the least recently used session.
   * From 1 to 10,000; default 100.
   */
  maxSessions: whole({ default: 100, min: 1, max: 10_000 }),
  /** The path of the login's routes. Tokens are valid for this path only. Default `/tasks`. */
  path: pathOption,
  /** The path to which a login redirects if no page was requested. Default `/`. */
  home: (name, value: string | undefined) => {
    const home = stringOption(name, value, '/', { maxLength: 2048 });
    if (!isSafeNext(home))
      throw wrongType(name, value, "a path of this app, such as '/tasks/dashboard'");
    return home;
  },
  /** Name and attributes of the session cookie. */
  cookie: (name, value: CookieOptions | undefined) => cookieOptions.nested(name, value),
  /**
   * Keeps the state that processes share: sessions, revocations, the throttle and the audit.
   * Default: the memory of this process.
   */
  store: (name, value: SharedStore = memoryStore()) => {
    if (
      typeof value !== 'object' ||
      value === null ||
      typeof value.watch !== 'function' ||
      typeof value.list !== 'function'
    )
      throw wrongKind(name, value, 'a SharedStore with watch() and list(), such as tasks.store');
    return limitedStore(value);
  },
  /** Limits of login attempts; `false` for no limit. */
  throttle: throttleOption,
  /** Days for which the audit keeps an event. Default 90. */
  auditRetentionDays: retentionOption,
  /** Origins other than this host's own that may send forms, such as `https://app.example`. */
  trustedOrigins: trustedOriginsOption,
  /** Shown on the login page. Default `koa-taskflow`. */
  title: text({ default: 'koa-taskflow', maxLength: 100 }),
  /**
   * Path of an image on this host, or a `data:` URL, shown on the login page instead of the default
   * logo.
   */
  logo: logoOption,
  /**
   * The URL of the login page as a browser sees it. Needed if the login is under a koa-mount and
   * guards are outside it.
   */
  loginUrl: text({
    maxLength: 2048,
    pattern: /^(https?:\/\/[^\s?#]+|\/(?!\/)[!-~]*)$/,
    accepted: 'a path or an http(s) URL without a query',
  }),
  /**
   * The URL of the app as browsers see it, such as `https://app.example`, without the path of the
   * login. A provider sends browsers back below it. Default: the URL of each request.
   */
  publicUrl: text({
    maxLength: 1024,
    pattern: /^https?:\/\/[^\s/?#@]+(\/[A-Za-z0-9._~-]+)*$/,
    accepted: "an http(s) URL without a query and a final slash, such as 'https://app.example'",
  }),
  /**
   * The name of a redirecting strategy. A login then begins at its provider at once. The page with
   * all ways to sign in is still at `auth/login?form`. Default: the page comes first.
   */
  autoStart: text({ maxLength: 64 }),
  /** Texts of the login page that replace the English ones. */
  messages: (name, value: LoginMessages | undefined) => messageOptions.nested(name, value),
  /** A path of this app, or an http(s) URL, to which the page links for a forgotten password. */
  passwordHelp: text({
    maxLength: 2048,
    pattern: /^(https?:\/\/[!-~]+|\/(?!\/)[!-~]*)$/,
    accepted: 'a path of this app or an http(s) URL',
  }),
  /** The app's pino logger, or `false` to log nothing. */
  logger: loggerOption,
});

/** Options of {@link createAuth}. */
export interface AuthOptions extends OptionsOf<typeof loginOptions> {
  /**
   * Who can log in: a {@link StrategyRegistry}, one strategy, `['admin', 'secret']`, or a list of
   * users.
   */
  strategies: Strategies;
}

/** The checked options. */
export interface CheckedAuthOptions extends Readonly<SettingsOf<typeof loginOptions>> {
  readonly mount: Mount;
  readonly registry: StrategyRegistry;
  readonly keySources: readonly KeySource[];
  /** Whether the key was made for this process, because the app gave none. */
  readonly hasRandomKey: boolean;
  readonly cookies: Cookies;
  /** Whether the store is the memory of this login alone. */
  readonly hasOwnStore: boolean;
  readonly limits: ThrottleLimits | false;
  readonly retentionDays: number;
}

/** Checks the options of `createAuth` and fills in the defaults. */
export function authOptions(options: AuthOptions): CheckedAuthOptions {
  refuseStrategies(options);
  const settings = loginOptions.read(options, { where: 'createAuth' });
  const { secretKey, autoStart, strategies } = settings;
  if (autoStart !== undefined && !isRedirectStrategy(strategies.get(autoStart)))
    throw outOfRange(
      'autoStart',
      autoStart,
      'the name of a strategy that sends the browser to a provider' +
        listed(strategies.names('redirect')),
    );
  const mount = mountAt(settings.path);
  return {
    ...settings,
    mount,
    registry: settings.strategies,
    keySources: secretKey ?? [fixedSecret([randomBytes(32).toString('base64url')])],
    hasRandomKey: secretKey === undefined,
    cookies: loginCookies(mount.path, settings.cookie),
    hasOwnStore: options.store === undefined,
    limits: settings.throttle,
    retentionDays: settings.auditRetentionDays,
  };
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? ', but none is registered' : ` (${names.join(', ')})`;
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
