import type { Middleware } from 'koa';
import compose from 'koa-compose';
import { auditedAccess } from './auth/audit-trail.js';
import { type Auth, isAuth } from './auth/auth.js';
import type { AuthOptions } from './auth/auth-options.js';
import { createAuth } from './auth/create-auth.js';
import type { Access } from './auth/index.js';
import { loginRoutes } from './auth/login-routes.js';
import { sessionToken } from './auth/session-token.js';
import { StrategyRegistry } from './auth/strategies/registry.js';
import { resolveStrategies, type Strategies } from './auth/strategies/short-forms.js';
import type { AdminSource } from './manager.js';
import { pathOption, typeError } from './options.js';
import { optionsObject } from './options-object.js';
import { type DashboardOptions, dashboardRoutes } from './web/dashboard-routes.js';
import { tasksOption, webOptions, webSettings } from './web/options.js';
import type { StreamLimits } from './web/sse-stream.js';
import { streamRoute } from './web/stream-route.js';
import { type TaskRoutesOptions, taskRoutes } from './web/task-routes.js';

/**
 * The login of the dashboard: none (`null`), a short form of the strategies, a login that
 * `createAuth` returned, or the app's own login.
 */
export type AuthOption = null | undefined | Strategies | Auth | Access;

/** Options of {@link taskAdmin}. */
export interface TaskAdminOptions
  extends Pick<AuthOptions, 'secretKey' | 'tokenExpiry' | 'throttle' | 'auditRetentionDays'>,
    Pick<
      DashboardOptions,
      'path' | 'title' | 'logo' | 'allowedHosts' | 'trustedOrigins' | 'logger'
    >,
    Pick<TaskRoutesOptions, 'displayFuncArgs'> {
  /**
   * The login. If it is absent or `null`, everyone who can reach the address can use the dashboard.
   */
  auth?: AuthOption;
  /** Limits on open streams. */
  streams?: StreamLimits | undefined;
}

const known = [
  'path',
  'auth',
  'secretKey',
  'tokenExpiry',
  'throttle',
  'auditRetentionDays',
  'title',
  'logo',
  'displayFuncArgs',
  'streams',
  'allowedHosts',
  'trustedOrigins',
  'logger',
] as const;

/**
 * Serves the login, the dashboard, the live stream and the JSON API under `path`, in one
 * middleware. It passes on all other requests.
 *
 * @throws TypeError or RangeError at once for a wrong option. The error names the option and the
 * accepted values.
 * @example
 * ```ts
 * app.use(taskAdmin(tasks, { auth: ['admin', process.env.ADMIN_PASSWORD] }));
 * ```
 */
export function taskAdmin(tasks: AdminSource, options?: TaskAdminOptions): Middleware {
  tasksOption(tasks);
  const given = optionsObject<TaskAdminOptions>('taskAdmin', options, known);
  const path = pathOption('path', given.path);
  const { auth, displayFuncArgs, streams, allowedHosts, ...login } = given;
  const { title, logo, trustedOrigins, logger } = login;
  const access = accessOf(auth, { ...login, path, store: tasks.store });
  const shared = { path, access, allowedHosts, trustedOrigins, logger };

  const middlewares: Middleware[] = [
    ...(isAuth(access) ? [unlessPublic(path, sessionToken(access)), loginRoutes(access)] : []),
    dashboardRoutes(tasks, { ...shared, title, logo }),
    streamRoute(tasks, { ...shared, streams }),
    taskRoutes(tasks, { ...shared, displayFuncArgs }),
  ];
  const { mount } = webSettings(webOptions.read(shared, { where: 'taskAdmin' }));
  return mount.middleware('taskAdmin', compose(middlewares));
}

/**
 * Skips the session for assets and the health check, which are the same for every user. They are
 * served even if the store cannot say which sessions are valid.
 */
function unlessPublic(path: string, readSession: Middleware): Middleware {
  const prefix = path === '/' ? '' : path;
  const isPublic = (requested: string): boolean =>
    requested.startsWith(`${prefix}/dashboard/assets/`) ||
    requested.startsWith(`${prefix}/auth/assets/`) ||
    requested === `${prefix}/health`;
  return function sessionToken(ctx, next) {
    return isPublic(ctx.path) ? next() : readSession(ctx, next);
  };
}

/** Other accepted values of `auth`, for the error message. */
const readyLogins =
  '; or a login that exists already (what createAuth() returned, or { who: (ctx) => … }), or ' +
  'null for no login';

/** The options of a login, which `createAuth` takes. */
type LoginOptions = Omit<
  TaskAdminOptions,
  'auth' | 'displayFuncArgs' | 'streams' | 'allowedHosts'
> & { path: string; store: AdminSource['store'] };

function accessOf(auth: AuthOption, login: LoginOptions): Access {
  const isReady = isAuth(auth) || isAccess(auth);
  const forLogin = (['secretKey', 'tokenExpiry', 'throttle'] as const).filter(
    (name) => login[name] !== undefined,
  );
  if ((auth === undefined || auth === null || isReady) && forLogin.length > 0) {
    const names = forLogin.join(', ');
    throw typeError(
      isReady
        ? `${names} cannot be combined with a login that exists already; set this in ` +
            'createAuth() instead'
        : `${names} cannot be used without auth; set auth as well`,
    );
  }
  if (isAuth(auth)) {
    if (login.auditRetentionDays !== undefined)
      throw typeError(
        'auditRetentionDays cannot be combined with a login that exists already; set this in ' +
          'createAuth() instead',
      );
    return auth;
  }
  if (auth === undefined || auth === null) return auditedAccess(undefined, login);
  if (isAccess(auth)) return auditedAccess(auth, login);
  return createAuth({
    ...login,
    strategies: resolveStrategies('auth', auth, readyLogins),
    home: login.path === '/' ? '/dashboard' : `${login.path}/dashboard`,
  });
}

/**
 * Whether the value is the app's own login: an object with `who` that is not a list, a strategy or
 * a registry.
 */
function isAccess(auth: AuthOption): auth is Access {
  return (
    typeof auth === 'object' &&
    auth !== null &&
    !Array.isArray(auth) &&
    !(auth instanceof StrategyRegistry) &&
    typeof (auth as { who?: unknown }).who === 'function'
  );
}
