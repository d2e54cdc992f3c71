import type { Context, Middleware } from 'koa';
import { TaskflowError } from '../errors.js';
import { perRequest } from '../http/per-request.js';
import { sendError } from '../http/problem.js';
import { type Auth, partsOf } from './create-auth.js';
import { currentSession } from './read-session.js';
import type { Session } from './session.js';

/** What {@link sessionToken} adds to `ctx.state`; for those who type their router. */
export interface SessionState {
  /** The signed-in user's session; `undefined` when the request carries no valid token. */
  session: Session | undefined;
}

const seen = perRequest<Auth>('login');

/** The login whose {@link sessionToken} has seen this request. */
export function authOf(ctx: Context): Auth | undefined {
  return seen.get(ctx);
}

/**
 * Reads the session token from `Authorization: Bearer`, which alone decides when it is there, else from the cookie, into
 * `ctx.state.session`. Never blocks a request: put {@link requireAuth} behind it where a session is needed. A second one
 * with the same `auth` does nothing. When the store cannot tell whether a session was revoked, the answer is 503.
 *
 * @example
 * ```ts
 * app.use(sessionToken(auth));
 * ```
 */
export function sessionToken(auth: Auth): Middleware {
  const parts = partsOf(auth);

  // Not an async function: on a route of its own each would cost as much as checking the token does.
  return function sessionToken(ctx, next) {
    if (seen.get(ctx) === auth) return next();
    const goOn = (session: Session | undefined): Promise<unknown> => {
      seen.set(ctx, auth);
      ctx.state.session = session;
      return next();
    };
    const fail = async (error: unknown): Promise<void> => sendError(ctx, error, 'json', parts.logger);
    let found: ReturnType<typeof currentSession>;
    try {
      found = currentSession(ctx, auth, parts);
    } catch (error) {
      return fail(error);
    }
    return found instanceof Promise ? found.then(goOn, fail) : goOn(found);
  };
}

/**
 * The session behind a guard.
 *
 * @throws TaskflowError UNAUTHENTICATED where there is none, which behind {@link requireAuth} cannot be.
 */
export function sessionOf(ctx: { state: object }): Session {
  const { session } = ctx.state as Partial<SessionState>;
  if (!session) throw new TaskflowError('UNAUTHENTICATED', 'This needs a session.');
  return session;
}
