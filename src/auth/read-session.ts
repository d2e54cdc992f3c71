import type { Context } from 'koa';
import { LRUCache } from 'lru-cache';
import { perRequest } from '../http/per-request.js';
import { hasBearer } from '../http/routes.js';
import type { Auth, AuthParts } from './create-auth.js';
import { refreshIdle } from './idle.js';
import type { Session } from './session.js';
import { usedFrom } from './session-list.js';

type Found = Session | undefined;

/** What a request was found to carry for a login, and for others before it. */
interface ReadSession {
  auth: Auth;
  session: Found | Promise<Found>;
  others: ReadSession | undefined;
}

/** Sessions already read, by request and login: several middlewares ask, one reads. */
const read = perRequest<ReadSession>('session');

/**
 * The session a request carries for this login, if it is valid, not revoked, and its user is as it was. Known at once, but
 * for the time before the store has first been heard of, and for strategies that need a promise to find a user: a promise for
 * each request would cost as much as all the rest.
 *
 * @throws TaskflowError STORE_UNAVAILABLE (or rejects with it) when nobody can say whether it still holds.
 */
export function currentSession(ctx: Context, auth: Auth, parts: AuthParts): Found | Promise<Found> {
  const others = read.get(ctx);
  for (let each = others; each; each = each.others) if (each.auth === auth) return each.session;
  const session = findSession(ctx, parts);
  read.set(ctx, { auth, session, others });
  return session;
}

/** Lets later readers of this request see the session it has from now on. */
export function setCurrentSession(ctx: Context, auth: Auth, session: Found): void {
  read.set(ctx, { auth, session, others: read.get(ctx) });
}

function findSession(ctx: Context, parts: AuthParts): Found | Promise<Found> {
  const session = validIn(ctx, parts);
  if (!session) return undefined;
  const following = parts.revocations.ready();
  return following ? following.then(() => unlessEnded(ctx, parts, session)) : unlessEnded(ctx, parts, session);
}

/** The one session whose token is valid at this time, revoked or not. */
function validIn(ctx: Context, { tokens, cookies, log }: AuthParts): Found {
  const values = hasBearer(ctx) ? bearerOf(ctx) : cookies.session.read(ctx);
  let found: Found;
  for (const token of values) {
    const session = tokens.read(token);
    if (!session) continue;
    if (!tokens.isCurrent(session)) {
      log.reused(ctx, session, 'expired');
      continue;
    }
    if (found && found.id !== session.id) {
      // One of the two was planted by another host of the domain (cookie tossing, RFC 6265bis section 8.6).
      log.conflict(ctx);
      return undefined;
    }
    found = session;
  }
  return found;
}

/** A Bearer token decides alone, bad or good (RFC 6750 section 2.1); without one, every cookie of the name counts. */
function bearerOf(ctx: Context): readonly string[] {
  const token = /^bearer +([\w.-]+)$/i.exec(ctx.get('Authorization'))?.[1];
  return token === undefined ? [] : [token];
}

function unlessEnded(ctx: Context, parts: AuthParts, session: Session): Found | Promise<Found> {
  if (parts.revocations.has(session, parts.tokens.signOutOf(session))) {
    if (firstInAMinute(session)) parts.log.reused(ctx, session, 'revoked');
    return undefined;
  }
  const use = (same: boolean): Found => {
    if (same) return inUse(ctx, parts, session);
    if (firstInAMinute(session)) parts.log.found(ctx, session, 'user_changed');
    return undefined;
  };
  const same = parts.users.unchanged(session, parts.tokens.versionOf(session));
  return typeof same === 'boolean' ? use(same) : same.then(use);
}

function inUse(ctx: Context, parts: AuthParts, valid: Session): Session {
  const { idleTimeout } = parts;
  const session = idleTimeout === undefined ? valid : refreshIdle(ctx, parts, idleTimeout, valid);
  parts.sessions.touch(session, parts.tokens.signOutOf(session), () => usedFrom(ctx));
  return session;
}

const told = new LRUCache<string, true>({ max: 1000, ttl: 60_000 });

/** A browser that keeps asking with a dead session is worth one line a minute. */
function firstInAMinute({ id }: Session): boolean {
  if (told.has(id)) return false;
  told.set(id, true);
  return true;
}
