import type { Context } from 'koa';
import { didYouMean } from '../did-you-mean.js';
import { TaskflowError } from '../errors.js';
import { hasRole } from '../http/access.js';
import { forbidden, type Route } from '../http/routes.js';
import { quote } from '../show-value.js';
import type { Auth, AuthParts } from './create-auth.js';
import { currentSession } from './sessions/current-session.js';
import { isOpen, openSessions, type Subject } from './sessions/open-sessions.js';
import { endOf, type Session } from './sessions/session.js';
import type { SessionRecord } from './sessions/session-list.js';
import { isUserName } from './strategies/strategy.js';

/** What a person may know and end: their sessions. */
export function sessionRoutes(auth: Auth, parts: AuthParts): Route[] {
  const own = async (ctx: Context): Promise<Session> => {
    const session = await currentSession(ctx, auth, parts);
    if (!session) throw new TaskflowError('UNAUTHENTICATED', 'This needs a session.');
    return session;
  };
  return [
    { method: 'GET', path: '/auth/session', need: 'viewer', handler: async (ctx) => showSession(ctx, await own(ctx)) },
    { method: 'GET', path: '/auth/sessions', need: 'viewer', handler: async (ctx) => listSessions(ctx, parts, await own(ctx)) },
    { method: 'DELETE', path: '/auth/sessions', need: 'viewer', handler: async (ctx) => endAll(ctx, parts, await own(ctx)) },
    {
      method: 'DELETE',
      path: '/auth/sessions/:id',
      need: 'viewer',
      handler: async (ctx, { params }) => endOne(ctx, parts, await own(ctx), params.id ?? ''),
    },
  ];
}

function showSession(ctx: Context, { username, strategy, roles, issuedAt, expiresAt }: Session): void {
  ctx.body = { username, strategy, roles, issuedAt, expiresAt };
}

async function listSessions(ctx: Context, parts: AuthParts, own: Session): Promise<void> {
  const query = queryOf(ctx, ['username', 'strategy', 'limit', 'cursor']);
  const { limit, isAfter } = pageOf(query);
  const open = (await openSessions(parts, subjectOf(query, parts, own))).filter(isAfter);
  const shown = open.slice(0, limit);
  const last = shown.at(-1);
  ctx.body = {
    items: shown.map(({ id, username, strategy, startedAt, lastUsedAt, expiresAt, ip, userAgent }) => ({
      id,
      username,
      strategy,
      startedAt: new Date(startedAt),
      lastUsedAt: new Date(lastUsedAt),
      expiresAt: new Date(expiresAt),
      ip,
      userAgent,
      current: id === own.id,
    })),
    nextCursor: last && open.length > limit ? `${last.lastUsedAt}.${last.startedAt}.${last.id}` : null,
  };
}

/** Which part of the list is asked for. A cursor names the last session of the page before. */
function pageOf(query: URLSearchParams): { limit: number; isAfter: (record: SessionRecord) => boolean } {
  const limit = query.get('limit') ?? '100';
  if (!/^[1-9]\d{0,2}$/.test(limit) || Number(limit) > 500)
    throw new TaskflowError('INVALID_INPUT', 'limit must be a whole number from 1 to 500.');
  const cursor = query.get('cursor');
  if (cursor === null) return { limit: Number(limit), isAfter: () => true };
  const [, lastUsedAt, startedAt, id = ''] = /^(\d{1,15})\.(\d{1,15})\.([\w-]{16,64})$/.exec(cursor) ?? [];
  if (lastUsedAt === undefined) throw new TaskflowError('INVALID_CURSOR', 'cursor is not the nextCursor of this list.');
  const isAfter = (record: SessionRecord): boolean =>
    (record.lastUsedAt - Number(lastUsedAt) || record.startedAt - Number(startedAt) || (record.id > id ? -1 : 1)) < 0 && record.id !== id;
  return { limit: Number(limit), isAfter };
}

async function endOne(ctx: Context, parts: AuthParts, own: Session, id: string): Promise<void> {
  const subject = subjectOf(queryOf(ctx, ['username', 'strategy']), parts, own);
  const found = await findOpen(parts, subject, id);
  if (!found) throw new TaskflowError('NOT_FOUND', 'There is no such session; it may have ended.');
  await parts.revocations.end(id, endOf({ authenticatedAt: new Date(found.startedAt) }, parts.tokenExpiry));
  parts.sessions.forget([found]);
  parts.log.ended(ctx, own, found, 'revoked');
  if (id === own.id) leave(ctx, parts);
  ctx.status = 204;
}

async function findOpen(parts: AuthParts, { username, strategy }: Subject, id: string): Promise<SessionRecord | undefined> {
  for (const name of strategy === undefined ? parts.registry.names() : [strategy]) {
    const found = await parts.sessions.find({ username, strategy: name, id });
    if (found && isOpen(parts, found)) return found;
  }
  return undefined;
}

async function endAll(ctx: Context, parts: AuthParts, own: Session): Promise<void> {
  const { username, strategy } = subjectOf(queryOf(ctx, ['username', 'strategy']), parts, own);
  for (const name of strategy === undefined ? parts.registry.names() : [strategy]) {
    await parts.revocations.endAll(name, username);
    parts.log.ended(ctx, own, { username, strategy: name }, 'logout_all');
  }
  if (parts.revocations.has(own, parts.tokens.signOutOf(own))) leave(ctx, parts);
  ctx.status = 204;
}

/** Whoever ended their own session knows it, and is not told later that it expired. */
function leave(ctx: Context, { cookies, devices }: AuthParts): void {
  cookies.session.clear(ctx);
  devices.signedOut(ctx);
}

/** The parameters of a request, of which each may be given once. */
function queryOf(ctx: Context, allowed: readonly string[]): URLSearchParams {
  const query = new URLSearchParams(ctx.querystring);
  for (const name of query.keys()) {
    if (!allowed.includes(name)) {
      const hint = `${didYouMean(name, allowed)} Allowed: ${allowed.join(', ')}.`;
      throw new TaskflowError('INVALID_INPUT', `Unknown query parameter ${quote(name)}.${hint}`);
    }
    const times = query.getAll(name).length;
    if (times > 1) throw new TaskflowError('INVALID_INPUT', `${name} is given ${times} times. Give it at most once.`);
  }
  return query;
}

/** Returns the user whose sessions are meant: the signed-in user, or for an administrator any user. */
function subjectOf(query: URLSearchParams, { registry }: AuthParts, own: Session): Subject {
  const username = query.get('username');
  // A user is the pair of both: the own name alone is oneself, and not a namesake in another strategy.
  const strategy = query.get('strategy') ?? (username === own.username ? own.strategy : undefined);
  if (!query.has('username') && !query.has('strategy')) return { username: own.username, strategy: own.strategy };
  if (!isUserName(username))
    throw new TaskflowError('INVALID_INPUT', 'username must be the name of a user. strategy can be given only together with username.');
  // With a misspelt strategy the answer would be an empty list, as if the user had no sessions.
  if (strategy !== undefined && !registry.get(strategy) && strategy !== own.strategy)
    throw new TaskflowError('INVALID_INPUT', `strategy must be one of ${registry.names().join(', ')}.`);
  const isOwn = username === own.username && strategy === own.strategy;
  if (!isOwn && !hasRole(own.roles, 'admin')) throw forbidden('admin');
  return { username, strategy };
}
