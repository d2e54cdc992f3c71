import type { Context } from 'koa';
import { LRUCache } from 'lru-cache';
import { perRequest } from '../../http/per-request.js';
import type { Auth, AuthParts } from '../create-auth.js';
import { refreshIdle } from './idle-timeout.js';
import type { Session } from './session.js';
import { usedFrom } from './session-list.js';

type Found = Session | undefined;

/** The session that a request carries for a login, if any. */
interface ReadSession {
  auth: Auth;
  session: Found | Promise<Found>;
  /** Whether it came from the cookie, which browsers send by themselves. */
  ambient: boolean;
  others: ReadSession | undefined;
}

/** Sessions already read, by request and login: several middlewares ask, one reads. */
const read = perRequest<ReadSession>('session');

function readBefore(ctx: Context, auth: Auth): ReadSession | undefined {
  for (let each = read.get(ctx); each; each = each.others) if (each.auth === auth) return each;
  return undefined;
}

/**
 * The session a request carries for this login, if it is valid, not revoked, and its user is as it was. Known at once, except
 * before the store has first answered, and with strategies that need a promise to find a user: a promise for each request
 * would cost as much as all the rest.
 *
 * @throws TaskflowError STORE_UNAVAILABLE (or rejects with it) if it cannot be known whether the session is still valid.
 */
export function currentSession(ctx: Context, auth: Auth, parts: AuthParts): Found | Promise<Found> {
  const before = readBefore(ctx, auth);
  if (before) return before.session;
  const bearer = bearerOf(ctx, parts);
  const session = findSession(ctx, parts, bearer);
  read.set(ctx, { auth, session, ambient: bearer === undefined, others: read.get(ctx) });
  return session;
}

/**
 * Whether a page of another site could have made the browser send the session of this request. Only a session that came from
 * `Authorization` rules that out. A Bearer header of another issuer beside a cookie does not, because proxies add such headers.
 */
export function isAmbient(ctx: Context, auth: Auth): boolean {
  return readBefore(ctx, auth)?.ambient !== false;
}

/** Lets later readers of this request see the session that it has from now on. */
export function setCurrentSession(ctx: Context, auth: Auth, session: Found): void {
  read.set(ctx, { auth, session, ambient: true, others: read.get(ctx) });
}

/**
 * The Bearer value that decides alone, valid or not (RFC 6750 section 2.1): a token of this login, or an empty one. Any other
 * token is meant for another service, such as the ID token that a proxy adds, and must not hide the cookie.
 */
function bearerOf(ctx: Context, { tokens }: AuthParts): string | undefined {
  const found = /^bearer(?:[ \t]+(.*))?$/i.exec(ctx.get('Authorization'));
  if (!found) return undefined;
  const value = found[1] ?? '';
  return value === '' || tokens.isOurs(value) ? value : undefined;
}

/**
 * The sessions that a login or a logout ends: all whose tokens the request carries, valid and not ended yet. No strategy is asked
 * about their users, since one that fails must not keep a session alive, nor keep its user from another strategy.
 */
export async function sessionsToEnd(ctx: Context, parts: AuthParts): Promise<readonly Session[]> {
  const { revocations, tokens } = parts;
  const carried = candidatesIn(ctx, parts, tokensOf(ctx, parts, bearerOf(ctx, parts)));
  if (carried.length > 0) await revocations.ready();
  return carried.filter((session) => !revocations.has(session, tokens.signOutOf(session)));
}

function tokensOf(ctx: Context, { cookies }: AuthParts, bearer: string | undefined): readonly string[] {
  return bearer === undefined ? cookies.session.read(ctx) : [bearer];
}

function findSession(ctx: Context, parts: AuthParts, bearer: string | undefined): Found | Promise<Found> {
  const candidates = candidatesIn(ctx, parts, tokensOf(ctx, parts, bearer));
  if (candidates.length === 0) return undefined;
  const choose = (): Found | Promise<Found> => chosen(ctx, parts, candidates, bearer === undefined);
  const [owned, following] = [parts.ownStore(), parts.revocations.ready()];
  return owned || following ? Promise.all([owned, following]).then(choose) : choose();
}

/** The sessions whose tokens are valid at this time, revoked or not; of several tokens of one session the newest. */
function candidatesIn(ctx: Context, { tokens, log }: AuthParts, values: readonly string[]): readonly Session[] {
  const found = new Map<string, Session>();
  for (const token of values) {
    const session = tokens.read(token);
    if (!session) continue;
    if (!tokens.isCurrent(session)) log.reused(ctx, session, 'expired');
    else if (session.issuedAt.getTime() >= (found.get(session.id)?.issuedAt.getTime() ?? 0)) found.set(session.id, session);
  }
  return [...found.values()];
}

function chosen(ctx: Context, parts: AuthParts, candidates: readonly Session[], ambient: boolean): Found | Promise<Found> {
  const valid = candidates.filter((session) => {
    if (!parts.revocations.has(session, parts.tokens.signOutOf(session))) return true;
    if (firstInAMinute(session)) parts.log.reused(ctx, session, 'revoked');
    return false;
  });
  const [session, other] = valid;
  // One of the two was planted by another host of the domain (cookie tossing, RFC 6265bis section 8.6).
  if (other) parts.log.conflict(ctx);
  return session && !other ? ifUnchanged(ctx, parts, session, ambient) : undefined;
}

function ifUnchanged(ctx: Context, parts: AuthParts, session: Session, ambient: boolean): Found | Promise<Found> {
  const use = (same: boolean): Found => {
    if (same) return inUse(ctx, parts, session, ambient);
    if (firstInAMinute(session)) parts.log.found(ctx, session, 'user_changed');
    return undefined;
  };
  const same = parts.users.unchanged(session, parts.tokens.versionOf(session));
  return typeof same === 'boolean' ? use(same) : same.then(use);
}

/** A session of a Bearer token has no cookie to renew. */
function inUse(ctx: Context, parts: AuthParts, valid: Session, ambient: boolean): Session {
  const { idleTimeout } = parts;
  const session = idleTimeout === undefined || !ambient ? valid : refreshIdle(ctx, parts, idleTimeout, valid);
  parts.sessions.touch(session, parts.tokens.signOutOf(session), () => usedFrom(ctx));
  return session;
}

const told = new LRUCache<string, true>({ max: 1000, ttl: 60_000 });

/** Logs at most one line a minute for a browser that keeps sending the token of an ended session. */
function firstInAMinute({ id }: Session): boolean {
  if (told.has(id)) return false;
  told.set(id, true);
  return true;
}
