import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import { hasRole } from '../http/access.js';
import { forbidden, type Route } from '../http/routes.js';
import type { Auth, AuthParts } from './create-auth.js';
import { endOf } from './login.js';
import { currentSession } from './read-session.js';
import type { Session } from './session.js';
import type { SessionRecord } from './session-list.js';
import { isUserName } from './strategy.js';

/** Whose sessions a request is about: one's own, or for an administrator those of another user. */
interface Subject {
  username: string;
  /** Absent: of every strategy. */
  strategy: string | undefined;
}

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
  const open = await openSessions(parts, subjectOf(ctx, parts, own));
  ctx.body = {
    items: open.map(({ id, username, strategy, startedAt, lastUsedAt, expiresAt, ip, userAgent }) => ({
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
  };
}

async function endOne(ctx: Context, parts: AuthParts, own: Session, id: string): Promise<void> {
  const found = (await openSessions(parts, subjectOf(ctx, parts, own))).find((record) => record.id === id);
  if (!found) throw new TaskflowError('NOT_FOUND', 'There is no such session; it may have ended.');
  await parts.revocations.end(id, endOf({ authenticatedAt: new Date(found.startedAt) }, parts.tokenExpiry));
  parts.log.ended(ctx, own, found, 'revoked');
  if (id === own.id) leave(ctx, parts);
  ctx.status = 204;
}

async function endAll(ctx: Context, parts: AuthParts, own: Session): Promise<void> {
  const { username, strategy } = subjectOf(ctx, parts, own);
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

async function openSessions({ sessions, revocations, tokens }: AuthParts, { username, strategy }: Subject): Promise<SessionRecord[]> {
  const records = await sessions.of(username);
  return records.filter(
    (record) =>
      (strategy === undefined || record.strategy === strategy) &&
      tokens.isCurrent(asSession(record)) &&
      !revocations.has(asSession(record), record.signOut ?? 0),
  );
}

function asSession({ id, username, strategy, startedAt, expiresAt }: SessionRecord): Session {
  const at = new Date(startedAt);
  return { id, username, strategy, roles: [], issuedAt: at, authenticatedAt: at, expiresAt: new Date(expiresAt) };
}

function subjectOf(ctx: Context, { registry }: AuthParts, own: Session): Subject {
  const query = new URLSearchParams(ctx.querystring);
  for (const name of query.keys()) {
    if ((name !== 'username' && name !== 'strategy') || query.getAll(name).length > 1)
      throw new TaskflowError('INVALID_INPUT', 'Allowed query parameters: username and strategy, at most once each.');
  }
  const username = query.get('username');
  // A user is the pair of both: the own name alone is oneself, and not a namesake in another strategy.
  const strategy = query.get('strategy') ?? (username === own.username ? own.strategy : undefined);
  if (query.size === 0) return { username: own.username, strategy: own.strategy };
  if (!isUserName(username))
    throw new TaskflowError('INVALID_INPUT', 'username must be the name of a user. strategy may be given together with it.');
  // A misspelt strategy would end or list nothing, and look as if there were nothing.
  if (strategy !== undefined && !registry.get(strategy) && strategy !== own.strategy)
    throw new TaskflowError('INVALID_INPUT', `strategy must be one of ${registry.names().join(', ')}.`);
  const isOwn = username === own.username && strategy === own.strategy;
  if (!isOwn && !hasRole(own.roles, 'admin')) throw forbidden('admin');
  return { username, strategy };
}
