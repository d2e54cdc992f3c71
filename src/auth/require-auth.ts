import type { Context, Middleware } from 'koa';
import { hasRole, type Role } from '../http/access.js';
import { plainHeaders } from '../http/headers.js';
import { sendError } from '../http/problem.js';
import { forbidden, hasBearer, logForbidden, unauthenticated } from '../http/routes.js';
import { refuseCrossOrigin } from '../http/same-origin.js';
import { loggerOption, optionsObject, stringOption, wrongType } from '../options.js';
import { type Auth, partsOf } from './create-auth.js';
import type { Session } from './session.js';
import { authOf } from './session-token.js';

/** Options of {@link requireAuth}. */
export interface RequireAuthOptions {
  /** The role a session must have; any session will do when absent. */
  role?: Role | undefined;
}

/**
 * Lets a request with a session through and no other. For `'redirect'`, nobody is sent to the login page with the way
 * back in `next`; for `'401'`, nobody gets problem+json. A session without the role gets 403, and so does a request of an
 * unsafe method that another site made the browser send with its cookie. Without {@link sessionToken} before it every
 * request gets 500, and the log says why.
 *
 * @example
 * ```ts
 * router.get('/reports', requireAuth('redirect'), (ctx) => { ctx.body = sessionOf(ctx).username; });
 * router.post('/api/reports', requireAuth('401', { role: 'operator' }), createReport);
 * ```
 */
export function requireAuth(mode: 'redirect' | '401', options?: RequireAuthOptions): Middleware {
  if (mode !== 'redirect' && mode !== '401') throw wrongType('mode of requireAuth', mode, "'redirect' or '401'");
  const { role } = optionsObject<RequireAuthOptions>('requireAuth', options, ['role']);
  stringOption('role', role, undefined, { maxLength: 64 });

  return function requireAuth(ctx, next) {
    const auth = authOf(ctx);
    const logger = auth ? partsOf(auth).logger : loggerOption('logger', undefined);
    try {
      if (!auth) throw new Error('requireAuth() needs app.use(sessionToken(auth)) before it');
      if (!admit(ctx, auth, mode, role)) return Promise.resolve();
    } catch (error) {
      sendError(ctx, error, 'json', logger);
      return Promise.resolve();
    }
    return next();
  };
}

/** Whether the request may go on; `false` after answering it with the way to the login. */
function admit(ctx: Context, auth: Auth, mode: 'redirect' | '401', role: Role | undefined): boolean {
  const session = ctx.state.session as Session | undefined;
  if (!session) {
    if (mode === '401') throw unauthenticated(ctx);
    plainHeaders(ctx);
    ctx.redirect(auth.loginUrl(ctx));
    return false;
  }
  if (role !== undefined && !hasRole(session.roles, role)) {
    logForbidden(ctx, partsOf(auth).logger, session.username, role);
    throw forbidden(role);
  }
  if (!hasBearer(ctx)) refuseCrossOrigin(ctx, partsOf(auth).trustedOrigins);
  return true;
}
