import type { Context, Middleware } from 'koa';
import { TaskflowError } from '../errors.js';
import { requireKoa } from '../http/koa-only.js';
import { perRequest } from '../http/per-request.js';
import { sendError } from '../http/problem.js';
import { wrongKind } from '../options.js';
import { type Auth, internalsOf } from './auth.js';
import type { Session } from './sessions/session.js';

/** The state that {@link sessionToken} adds to `ctx.state`, for the type of a router. */
export interface SessionState {
  /** The signed-in user's session; `undefined` if the request carries no valid token. */
  session: Session | undefined;
}

/**
 * A login that read the request, the session that it found, and the login that read the request
 * before it.
 */
export interface SeenBy {
  readonly auth: Auth;
  readonly session: Session | undefined;
  readonly earlier: SeenBy | undefined;
}

const seen = perRequest<SeenBy>('login');

/** Returns the logins whose {@link sessionToken} has read this request, the last one first. */
export function loginsOf(ctx: Context): readonly SeenBy[] {
  const logins: SeenBy[] = [];
  for (let each = seen.get(ctx); each; each = each.earlier) logins.push(each);
  return logins;
}

/**
 * Reads the session of a request into `ctx.state.session`. The token comes from `Authorization:
 * Bearer` if that contains a token of this login, valid or not. Otherwise, a strategy that
 * identifies requests may decide, and finally the cookie. Anonymous requests pass: put
 * {@link requireAuth} after it for routes that need a session. With several logins in one app,
 * `ctx.state.session` is the session of the last `sessionToken`, until a {@link requireAuth} that
 * names its login replaces it. If the store or a strategy cannot say which user the request comes
 * from, the answer is 503, except for the login and logout routes.
 *
 * @example
 * ```ts
 * app.use(sessionToken(auth));
 * ```
 */
export function sessionToken(auth: Auth): Middleware {
  const { reader, mount, logger } = internalsOf(auth);

  // This is not an async function, because a promise for each request would cost as much as
  // checking the token.
  return function sessionToken(ctx, next) {
    requireKoa('sessionToken', next);
    const last = seen.get(ctx);
    if (last?.auth === auth) return next();
    const proceed = (session: Session | undefined): Promise<unknown> => {
      if (!last || !loginsOf(ctx).some((each) => each.auth === auth))
        seen.set(ctx, { auth, session, earlier: last });
      ctx.state.session = session;
      return next();
    };
    // The request must not continue without a session: a guard after this middleware would answer
    // 500.
    const fail = async (error: unknown): Promise<unknown> =>
      isLoginRoute(ctx.path, mount.prefix) ? next() : sendError(ctx, error, 'json', logger);
    let found: Session | undefined | Promise<Session | undefined>;
    try {
      found = reader.of(ctx);
    } catch (error) {
      return fail(error);
    }
    return found instanceof Promise ? found.then(proceed, fail) : proceed(found);
  };
}

/**
 * Whether a path is one of the login or the logout, which need no session. Under koa-mount, the
 * path may have a longer prefix.
 */
function isLoginRoute(path: string, prefix: string): boolean {
  const [, route = ''] = path.split(`${prefix}/auth/`);
  return /^(login|logout|signed-out|(start|callback|ended)\/[^/]+)$/.test(route);
}

/**
 * Returns the session of a request behind a guard.
 *
 * @throws TaskflowError UNAUTHENTICATED if the request has no session. This cannot happen behind
 * {@link requireAuth}. TaskflowError INTERNAL if no {@link sessionToken} has read the request.
 * TypeError with code INVALID_INPUT if the argument is not a context.
 */
export function sessionOf(ctx: { state: object }): Session {
  if (typeof ctx?.state !== 'object' || ctx.state === null)
    throw wrongKind('ctx', ctx, 'the context of a Koa request');
  const { session } = ctx.state as Partial<SessionState>;
  if (session) return session;
  if (!('req' in ctx) || loginsOf(ctx as Context).length === 0)
    throw new TaskflowError(
      'INTERNAL',
      'sessionOf(ctx) found no session, because no sessionToken has read the request: ' +
        'call app.use(sessionToken(auth)) first, and put requireAuth() before this route',
    );
  throw new TaskflowError(
    'UNAUTHENTICATED',
    'This request needs a session. The app can put requireAuth() before this route to ask ' +
      'for a login.',
  );
}
