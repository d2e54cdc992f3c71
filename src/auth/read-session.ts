import type { Context } from 'koa';
import { hasBearer } from '../http/routes.js';
import type { Auth, AuthParts } from './create-auth.js';
import type { Session } from './session.js';

type Found = Session | undefined;

/** Sessions already read, by request and login: several middlewares ask, one reads. */
const read = new WeakMap<object, Map<Auth, Found | Promise<Found>>>();

/**
 * The session a request carries for this login, if it is valid and not revoked. Known at once, but for the time before the
 * store has first been heard of: a promise for each request would cost as much as all the rest.
 *
 * @throws TaskflowError STORE_UNAVAILABLE (or rejects with it) when nobody can say whether it was revoked.
 */
export function currentSession(ctx: Context, auth: Auth, parts: AuthParts): Found | Promise<Found> {
  const byAuth = read.get(ctx.req) ?? new Map<Auth, Found | Promise<Found>>();
  if (byAuth.has(auth)) return byAuth.get(auth);
  const session = unlessRevoked(sessionIn(ctx, parts), parts);
  read.set(ctx.req, byAuth.set(auth, session));
  return session;
}

/** The one session whose token is valid, revoked or not. */
function sessionIn(ctx: Context, { tokens, cookie, logger }: AuthParts): Found {
  const found = new Map<string, Session>();
  for (const token of tokensOf(ctx, cookie)) {
    const session = tokens.verify(token);
    if (session) found.set(session.id, session);
  }
  if (found.size > 1) {
    // Two valid sessions in one request: one of them was planted (cookie tossing, RFC 6265bis section 8.6).
    logger.warn({ event: 'authn_login_fail', reason: 'several_sessions', ip: ctx.ip }, 'request with two sessions refused');
    return undefined;
  }
  const [session] = found.values();
  return session;
}

function unlessRevoked(session: Found, { revocations }: AuthParts): Found | Promise<Found> {
  if (!session) return undefined;
  const check = (): Found => (revocations.has(session.id) ? undefined : session);
  const following = revocations.ready();
  return following ? following.then(check) : check();
}

/** A Bearer token decides alone, bad or good (RFC 6750 section 2.1); without one, every cookie of the name counts. */
function tokensOf(ctx: Context, cookie: AuthParts['cookie']): readonly string[] {
  if (!hasBearer(ctx)) return cookie.read(ctx);
  const token = /^bearer +([\w.-]+)$/i.exec(ctx.get('Authorization'))?.[1];
  return token === undefined ? [] : [token];
}

/** setTimeout fires at once past this. */
const longestTimer = 2 ** 31 - 1;

/** A signal that aborts when the request's session ends: `'expired'` at its time, `'revoked'` when it is ended before. */
export function endSignal(ctx: Context, auth: Auth, parts: AuthParts): AbortSignal {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let stopListening = (): void => {};
  const stop = (): void => {
    clearTimeout(timer);
    stopListening();
  };
  const end = (reason: 'expired' | 'revoked'): void => {
    stop();
    controller.abort(reason);
  };
  const waitFor = (session: Session): void => {
    const left = session.expiresAt.getTime() - Date.now();
    if (left <= 0) {
      end('expired');
      return;
    }
    timer = setTimeout(() => waitFor(session), Math.min(left, longestTimer));
    timer.unref();
  };
  ctx.res.once('close', stop);
  Promise.resolve()
    .then(() => currentSession(ctx, auth, parts))
    .then((session) => {
      if (!session) return end('revoked');
      stopListening = parts.revocations.onRevoked(session.id, () => end('revoked'));
      // It may have been revoked between reading it and listening.
      if (parts.revocations.has(session.id)) return end('revoked');
      waitFor(session);
    })
    // A store that cannot say whether the session is good ends it, as it lets no request through.
    .catch(() => end('revoked'));
  return controller.signal;
}
