import type { Context } from 'koa';
import { isSafeMethod } from '../../http/same-origin.js';
import type { AuthLog } from '../auth-log.js';
import { requestInfo } from '../request-info.js';
import type { Cookie } from './cookies.js';
import { endOf, type Session } from './session.js';
import type { SessionList } from './session-list.js';
import type { Tokens } from './tokens.js';

/** Minimum number of milliseconds between two tokens of a session. */
const renewalInterval = 60_000;

interface RenewalDeps {
  tokens: Pick<Tokens, 'sign' | 'versionOf' | 'signOutOf'>;
  cookie: Pick<Cookie, 'write'>;
  sessions: Pick<SessionList, 'put'>;
  log: Pick<AuthLog, 'renewed'>;
  /** Maximum number of seconds that a session lasts from its login, however often it is renewed. */
  tokenExpiry: number;
  /** Seconds a token lasts. */
  idleTimeout: number;
}

/**
 * Makes the function that gives an active session a new token, at most once a minute. The new token
 * has the same session id and never outlasts the session. Requests that a page sends automatically
 * (the stream, reads by script) do not count as activity. So an open page does not keep a session
 * alive.
 */
export function idleRenewal({
  tokens,
  cookie,
  sessions,
  log,
  tokenExpiry,
  idleTimeout,
}: RenewalDeps) {
  return function renew(ctx: Context, session: Session): Session {
    const now = Date.now();
    if (now - session.issuedAt.getTime() < renewalInterval || !isUse(ctx)) return session;
    const end = endOf(session, tokenExpiry).getTime();
    const renewed: Session = {
      ...session,
      issuedAt: new Date(now),
      expiresAt: new Date(Math.min(now + idleTimeout * 1000, end)),
    };
    const token = tokens.sign(renewed, tokens.versionOf(session), tokens.signOutOf(session));
    cookie.write(ctx, token, (renewed.expiresAt.getTime() - now) / 1000);
    // If the store fails, the session list shows an old time. The new cookie is valid all the same.
    sessions.put(renewed, requestInfo(ctx)).catch(() => {});
    log.renewed(requestInfo(ctx), renewed);
    return renewed;
  };
}

/**
 * Whether the request counts as activity: a user opened a page of this site, or changed something.
 */
function isUse(ctx: Context): boolean {
  const site = ctx.get('Sec-Fetch-Site');
  if (!isSafeMethod(ctx.method)) return site === '' || site === 'same-origin' || site === 'none';
  const destination = ctx.get('Sec-Fetch-Dest');
  return destination === '' ? ctx.get('Accept').includes('text/html') : destination === 'document';
}
