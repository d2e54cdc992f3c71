import type { Context, Middleware } from 'koa';
import { hasRole, type Role } from '../http/access.js';
import { forbidden, unauthenticated } from '../http/auth-errors.js';
import { noStoreUnlessSet, plainHeaders } from '../http/headers.js';
import { requireKoa } from '../http/koa-only.js';
import { isNavigation } from '../http/navigation.js';
import { sendError } from '../http/problem.js';
import { logForbidden } from '../http/routes.js';
import { refuseCrossOrigin } from '../http/same-origin.js';
import { loggerOption, stringOption, typeError, wrongType } from '../options.js';
import { optionsObject } from '../options-object.js';
import { type Auth, type AuthInternals, internalsOf, isAuth } from './auth.js';
import { loginsOf, type SeenBy } from './session-token.js';

/** Options of {@link requireAuth}. */
export interface RequireAuthOptions {
  /**
   * The login whose sessions are accepted. Required if several logins read the request. Default:
   * the login that read it.
   */
  auth?: Auth | undefined;
  /** The role that a session must have. Default: any session is accepted. */
  role?: Role | undefined;
}

/**
 * Guards routes: only requests with a session pass.
 *
 * - `'redirect'` redirects an anonymous request to the login page and puts the requested URL in
 *   `next`. If the request is not a navigation, such as one by `fetch` or EventSource, it gets 401
 *   as problem+json.
 * - `'401'` answers every anonymous request with 401 as problem+json.
 *
 * A session without the role gets 403: a page for a navigation in mode `'redirect'`, otherwise
 * problem+json. An unsafe request that another site made the browser send also gets 403. Responses
 * of the guarded middleware have `Cache-Control: no-store`, unless the app sets that header. If no
 * {@link sessionToken} runs before it, or if several logins read the request and `auth` names none
 * of them, every request gets 500. The log then contains the reason.
 *
 * @throws TypeError or RangeError for a wrong mode or option.
 * @example
 * ```ts
 * router.get('/reports', requireAuth('redirect'), (ctx) => {
 *   ctx.body = sessionOf(ctx).username;
 * });
 * router.post('/api/reports', requireAuth('401', { role: 'operator' }), createReport);
 * router.get('/admin', requireAuth('redirect', { auth: staff, role: 'admin' }), showAdmin);
 * ```
 */
export function requireAuth(mode: 'redirect' | '401', options?: RequireAuthOptions): Middleware {
  if (mode !== 'redirect' && mode !== '401')
    throw wrongType(
      'the first argument of requireAuth',
      mode,
      "the mode, 'redirect' or '401'; pass the role and the login in the second argument: " +
        "requireAuth('401', { role: 'admin', auth })",
    );
  if (isAuth(options))
    throw typeError('the options of requireAuth are a login; pass it as { auth }');
  const { auth: named, role } = optionsObject<RequireAuthOptions>('requireAuth', options, [
    'auth',
    'role',
  ]);
  stringOption('role', role, undefined, {
    maxLength: 64,
    accepted: "the name of one role, such as 'operator'",
  });
  if (named !== undefined) internalsOf(named);

  return function requireAuth(ctx, next) {
    requireKoa('requireAuth', next);
    const logins = loginsOf(ctx);
    const shown = named ?? logins[0]?.auth;
    const inside = shown && internalsOf(shown);
    try {
      const login = loginFor(logins, named);
      if (!admit(ctx, login, mode, role)) return Promise.resolve();
      ctx.state.session = login.session;
    } catch (error) {
      const asPage = inside && mode === 'redirect' && isNavigation(ctx);
      sendError(
        ctx,
        error,
        asPage ? 'page' : 'json',
        inside?.logger ?? loggerOption('logger', undefined),
        inside?.assets(ctx),
      );
      return Promise.resolve();
    }
    noStoreUnlessSet(ctx);
    return next();
  };
}

/**
 * Returns the login that the guard uses. Throws if it is ambiguous, because a guard must not accept
 * the session of another login.
 */
function loginFor(logins: readonly SeenBy[], named: Auth | undefined): SeenBy {
  const [last, another] = logins;
  if (!last) throw new Error('requireAuth() needs app.use(sessionToken(auth)) before it');
  if (!named && another)
    throw new Error('several logins read this request; name one: requireAuth(mode, { auth })');
  const login = named ? logins.find(({ auth }) => auth === named) : last;
  if (!login)
    throw new Error(
      'requireAuth(mode, { auth }) needs app.use(sessionToken(auth)) of the same auth before it',
    );
  if (
    logins.some(
      (other) =>
        other !== login && acceptsTokensOf(internalsOf(login.auth), internalsOf(other.auth)),
    )
  )
    throw new Error(
      'two logins that read this request have the same path and a secretKey in common; give ' +
        'each its own path',
    );
  return login;
}

/**
 * Whether one login accepts the tokens of another one. Tokens of two logins differ only in the path
 * and the keys.
 */
function acceptsTokensOf(one: AuthInternals, other: AuthInternals): boolean {
  return one.mount.path === other.mount.path && one.keyIds.some((id) => other.keyIds.includes(id));
}

/** Whether the request may proceed. Returns `false` after a redirect to the login page. */
function admit(
  ctx: Context,
  { auth, session }: SeenBy,
  mode: 'redirect' | '401',
  role: Role | undefined,
): boolean {
  const { reader, logger, trustedOrigins } = internalsOf(auth);
  if (!session) {
    if (mode === '401' || !isNavigation(ctx)) throw unauthenticated(ctx);
    plainHeaders(ctx);
    ctx.redirect(auth.loginUrl(ctx));
    return false;
  }
  if (role !== undefined && !hasRole(session.roles, role)) {
    logForbidden(ctx, logger, { name: session.username, strategy: session.strategy }, role);
    throw forbidden(role);
  }
  if (reader.isAmbient(ctx)) refuseCrossOrigin(ctx, trustedOrigins);
  return true;
}
