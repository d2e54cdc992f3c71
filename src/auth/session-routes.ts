import type { Context } from 'koa';
import { didYouMean } from '../did-you-mean.js';
import { TaskflowError } from '../errors.js';
import { hasRole } from '../http/access.js';
import { forbidden } from '../http/auth-errors.js';
import type { Route } from '../http/routes.js';
import { quote } from '../show-value.js';
import type { AuthLog } from './auth-log.js';
import { answerOf, inQuery, type LoginRoute, sessionPageSchema, sessionSchema } from './openapi.js';
import { requestInfo } from './request-info.js';
import type { SessionReader } from './sessions/current-session.js';
import type { OpenSessions, Subject } from './sessions/open-sessions.js';
import type { RequestIdentity } from './sessions/request-identity.js';
import type { Revocations } from './sessions/revocations.js';
import type { Session } from './sessions/session.js';
import type { SessionRecord } from './sessions/session-list.js';
import type { StrategyRegistry } from './strategies/registry.js';
import { isUserName } from './strategies/user-fields.js';

/*
 * Users see and end their own sessions through these routes. Administrators see and end the
 * sessions of any user. `SessionReader` gives the session of the request, and `subjectOf` decides
 * whose sessions it may use. `OpenSessions` lists and ends single sessions. `Revocations` signs a
 * user out everywhere.
 */

export interface SessionRoutesDeps {
  reader: Pick<SessionReader, 'of' | 'identityOf'>;
  registry: Registry;
  open: OpenSessions;
  revocations: Pick<Revocations, 'endAll' | 'ready'>;
  log: Pick<AuthLog, 'ended'>;
  /** Removes the session from the browser. The login page then does not say that it expired. */
  forget(ctx: Context): void;
}

type Registry = Pick<StrategyRegistry, 'get' | 'names'>;

/** A request of a signed-in user. */
interface SessionRequest {
  ctx: Context;
  /** The session of the request. */
  own: Session;
  /** What a request strategy decided. The user then has no session in the list. */
  identity: RequestIdentity | undefined;
  params: Readonly<Record<string, string>>;
}

/** Returns the rows of the session routes. */
export function sessionRoutes(deps: SessionRoutesDeps): LoginRoute[] {
  const handled = (
    handle: (request: SessionRequest, deps: SessionRoutesDeps) => unknown,
  ): Pick<Route, 'requiredRole' | 'handler'> => ({
    requiredRole: 'viewer',
    handler: async (ctx, { params }) => {
      const own = await deps.reader.of(ctx);
      if (!own) throw new TaskflowError('UNAUTHENTICATED', 'This request needs a session.');
      await deps.revocations.ready();
      return handle({ ctx, own, identity: deps.reader.identityOf(ctx), params }, deps);
    },
  });
  return [
    {
      ...handled(showSession),
      method: 'GET',
      path: '/auth/session',
      operation: {
        id: 'getSession',
        summary: 'The session of the request',
        answers: { 200: answerOf('The session', sessionSchema) },
      },
    },
    {
      ...handled(listSessions),
      method: 'GET',
      path: '/auth/sessions',
      operation: {
        id: 'listSessions',
        summary: 'The open sessions of a user',
        query: ofPage,
        answers: {
          200: answerOf('The sessions, the most recently used first', sessionPageSchema),
        },
        errors: refused,
      },
    },
    {
      ...handled(endAll),
      method: 'DELETE',
      path: '/auth/sessions',
      operation: {
        id: 'endSessions',
        summary: 'Signs a user out everywhere',
        query: ofUser,
        answers: ended,
        errors: refused,
      },
    },
    {
      ...handled(endOne),
      method: 'DELETE',
      path: '/auth/sessions/:id',
      operation: {
        id: 'endSession',
        summary: 'Ends one session',
        query: ofUser,
        answers: ended,
        errors: { ...refused, 404: 'There is no such session' },
      },
    },
  ];
}

const ofUser = [
  inQuery('username', 'The user. Only an administrator may name another user'),
  inQuery('strategy', 'The strategy that this user signed in with'),
];
const ofPage = [
  ...ofUser,
  inQuery('limit', 'Sessions on a page', {
    type: 'integer',
    minimum: 1,
    maximum: 500,
    default: 100,
  }),
  inQuery('cursor', 'The nextCursor of the previous page'),
];
const ended = { 204: 'Done' };
const refused = {
  400: 'The request is not valid',
  403: 'The request came from another site, or the user may not do this or has no sessions',
};

function showSession({ ctx, own }: SessionRequest): void {
  const { username, strategy, roles, issuedAt, expiresAt } = own;
  ctx.body = { username, strategy, roles, issuedAt, expiresAt };
}

async function listSessions(
  request: SessionRequest,
  { registry, open: sessions }: SessionRoutesDeps,
): Promise<void> {
  const { ctx, own } = request;
  const query = queryOf(ctx, ofPage);
  const { limit, isAfter } = pageOf(query);
  const open = (await sessions.of(subjectOf(query, registry, request))).filter(isAfter);
  const shown = open.slice(0, limit);
  const last = shown.at(-1);
  ctx.body = {
    items: shown.map(
      ({ id, username, strategy, startedAt, lastUsedAt, expiresAt, ip, userAgent }) => ({
        id,
        username,
        strategy,
        startedAt: new Date(startedAt),
        lastUsedAt: new Date(lastUsedAt),
        expiresAt: new Date(expiresAt),
        ip,
        userAgent,
        current: id === own.id,
      }),
    ),
    nextCursor:
      last && open.length > limit ? `${last.lastUsedAt}.${last.startedAt}.${last.id}` : null,
  };
}

/** Reads the page that the query requests. A cursor names the last session of the previous page. */
function pageOf(query: URLSearchParams): {
  limit: number;
  isAfter: (record: SessionRecord) => boolean;
} {
  const limit = query.get('limit') ?? '100';
  if (!/^[1-9]\d{0,2}$/.test(limit) || Number(limit) > 500)
    throw new TaskflowError('INVALID_INPUT', 'limit must be a whole number from 1 to 500.');
  const cursor = query.get('cursor');
  if (cursor === null) return { limit: Number(limit), isAfter: () => true };
  const [, lastUsedAt, startedAt, id = ''] =
    /^(\d{1,15})\.(\d{1,15})\.([\w-]{16,64})$/.exec(cursor) ?? [];
  if (lastUsedAt === undefined)
    throw new TaskflowError('INVALID_CURSOR', 'cursor is not the nextCursor of this list.');
  const isAfter = (record: SessionRecord): boolean =>
    (record.lastUsedAt - Number(lastUsedAt) ||
      record.startedAt - Number(startedAt) ||
      (record.id > id ? -1 : 1)) < 0 && record.id !== id;
  return { limit: Number(limit), isAfter };
}

async function endOne(
  request: SessionRequest,
  { registry, open, log, forget }: SessionRoutesDeps,
): Promise<void> {
  const { ctx, own, params } = request;
  const { id = '' } = params;
  const subject = subjectOf(queryOf(ctx, ofUser), registry, request);
  const found = await findOpen(open, namesOf(subject, registry), { ...subject, id });
  if (!found) throw new TaskflowError('NOT_FOUND', 'There is no such session; it may have ended.');
  await open.end(found);
  log.ended(requestInfo(ctx), own, found, 'revoked');
  if (id === own.id) forget(ctx);
  ctx.status = 204;
}

async function findOpen(
  open: OpenSessions,
  strategies: readonly string[],
  { username, id }: { username: string; id: string },
): Promise<SessionRecord | undefined> {
  for (const strategy of strategies) {
    const found = await open.find({ username, strategy, id });
    if (found) return found;
  }
  return undefined;
}

async function endAll(
  request: SessionRequest,
  { registry, open, revocations, log, forget }: SessionRoutesDeps,
): Promise<void> {
  const { ctx, own, identity } = request;
  const subject = subjectOf(queryOf(ctx, ofUser), registry, request);
  const { username } = subject;
  for (const strategy of namesOf(subject, registry)) {
    await revocations.endAll(strategy, username);
    log.ended(requestInfo(ctx), own, { username, strategy }, 'logout_all');
  }
  if (!identity && open.hasEnded(own)) forget(ctx);
  ctx.status = 204;
}

/** Returns the named strategy, or all strategies if none is named. */
function namesOf({ strategy }: Subject, registry: Registry): readonly string[] {
  return strategy === undefined ? registry.names() : [strategy];
}

/** Returns the query parameters of a request. Throws if one is unknown or given twice. */
function queryOf(ctx: Context, parameters: typeof ofUser): URLSearchParams {
  const allowed = parameters.map(({ name }) => name);
  const query = new URLSearchParams(ctx.querystring);
  for (const name of query.keys()) {
    if (!allowed.includes(name)) {
      const hint = `${didYouMean(name, allowed)} Allowed: ${allowed.join(', ')}.`;
      throw new TaskflowError('INVALID_INPUT', `Unknown query parameter ${quote(name)}.${hint}`);
    }
    const times = query.getAll(name).length;
    if (times > 1)
      throw new TaskflowError(
        'INVALID_INPUT',
        `${name} is given ${times} times. Give it at most once.`,
      );
  }
  return query;
}

/**
 * Returns the user whose sessions the query requests: the signed-in user, or any user if an
 * administrator asks. Throws if the user has no sessions, because a proxy or a token identifies
 * each request. A token may do nothing with the sessions of others either.
 */
function subjectOf(
  query: URLSearchParams,
  registry: Registry,
  { own, identity }: Pick<SessionRequest, 'own' | 'identity'>,
): Subject {
  if (identity && !identity.strategy.ambient)
    throw new TaskflowError(
      'FORBIDDEN',
      `Requests that '${own.strategy}' identifies cannot list or end sessions. Sign in to do this.`,
    );
  const username = query.get('username');
  // If the strategy is missing, the name of the signed-in user means that user, and not a user with
  // the same name in another strategy.
  const strategy = query.get('strategy') ?? (username === own.username ? own.strategy : undefined);
  if (!query.has('username') && !query.has('strategy')) {
    if (identity) throw noSessions(own);
    return { username: own.username, strategy: own.strategy };
  }
  if (!isUserName(username))
    throw new TaskflowError(
      'INVALID_INPUT',
      'username must be the name of a user. strategy can be given only together with username.',
    );
  // Without this check, a misspelt strategy would give an empty list, as if the user had no
  // sessions.
  if (strategy !== undefined && !registry.get(strategy) && strategy !== own.strategy)
    throw new TaskflowError(
      'INVALID_INPUT',
      `strategy must be one of ${registry.names().join(', ')}.`,
    );
  const isOwn = username === own.username && strategy === own.strategy;
  if (isOwn && identity) throw noSessions(own);
  if (!isOwn && !hasRole(own.roles, 'admin')) throw forbidden('admin');
  return { username, strategy };
}

function noSessions({ strategy }: Session): TaskflowError {
  return new TaskflowError(
    'FORBIDDEN',
    `You have no sessions here, because '${strategy}' identifies each of your requests.`,
  );
}
