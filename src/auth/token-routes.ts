import type { Context } from 'koa';
import { didYouMean } from '../did-you-mean.js';
import { TaskflowError } from '../errors.js';
import { hasRole } from '../http/access.js';
import { hasBody, readBody } from '../http/body.js';
import type { Route } from '../http/routes.js';
import { quote } from '../show-value.js';
import type { AuthLog } from './auth-log.js';
import {
  answerOf,
  createdTokenSchema,
  type LoginRoute,
  newTokenSchema,
  rotationSchema,
  tokenListSchema,
} from './openapi.js';
import { requestInfo } from './request-info.js';
import type { SessionReader } from './sessions/current-session.js';
import type { Session } from './sessions/session.js';
import type { NewToken, TokenInfo, TokenIssuer } from './strategies/token-issuer.js';

/*
 * Users create, list, rotate and revoke their own API tokens through these routes. Administrators
 * see and revoke the tokens of all users. A request needs a session: what a token or a proxy
 * identifies may do none of this. A new token needs a session that has just begun, so that a stolen
 * session cannot become a token that lasts longer.
 */

export interface TokenRoutesDeps {
  reader: Pick<SessionReader, 'of' | 'identityOf'>;
  issuer: TokenIssuer;
  log: Pick<AuthLog, 'token'>;
  now: () => number;
}

interface TokenRequest {
  ctx: Context;
  own: Session;
  /** The owner of the tokens of this user. */
  owner: string;
  id: string;
}

/** Maximum size in bytes of a body. */
const bodyLimit = 16 * 1024;

/** Maximum age in seconds of a session that creates a token. */
const freshFor = 900;

/** Returns the rows of the routes of API tokens. */
export function tokenRoutes(deps: TokenRoutesDeps): LoginRoute[] {
  const handled = (
    handle: (request: TokenRequest, deps: TokenRoutesDeps) => Promise<void>,
    isFresh = false,
  ): Pick<Route, 'requiredRole' | 'handler' | 'takesBody'> => ({
    requiredRole: 'viewer',
    takesBody: isFresh,
    handler: async (ctx, { params }) => {
      const own = await deps.reader.of(ctx);
      if (!own) throw new TaskflowError('UNAUTHENTICATED', 'This request needs a session.');
      if (deps.reader.identityOf(ctx))
        throw new TaskflowError(
          'FORBIDDEN',
          `Requests that '${own.strategy}' identifies cannot use API tokens. Sign in to do this.`,
        );
      if (isFresh) requireFresh(own, deps.now());
      const owner = `${own.strategy}:${own.username}`;
      await handle({ ctx, own, owner, id: params.id ?? '' }, deps);
    },
  });
  return [
    {
      ...handled(create, true),
      method: 'POST',
      path: '/auth/tokens',
      operation: {
        id: 'createApiToken',
        summary: 'Creates an API token of the user',
        body: newTokenSchema,
        bodyTypes: ['json'],
        answers: { 201: answerOf('The token, which cannot be read again', createdTokenSchema) },
        errors: refusedBody,
      },
    },
    {
      ...handled(list),
      method: 'GET',
      path: '/auth/tokens',
      operation: {
        id: 'listApiTokens',
        summary: 'The API tokens of the user, or all of them for an administrator',
        answers: { 200: answerOf('The tokens, the newest first', tokenListSchema) },
        errors: refused,
      },
    },
    {
      ...handled(rotate, true),
      method: 'POST',
      path: '/auth/tokens/:id/rotate',
      operation: {
        id: 'rotateApiToken',
        summary: 'Replaces an API token of the user by a new one',
        body: rotationSchema,
        bodyTypes: ['json'],
        answers: { 201: answerOf('The new token', createdTokenSchema) },
        errors: { ...refusedBody, 404: noSuchToken },
      },
    },
    {
      ...handled(revoke),
      method: 'DELETE',
      path: '/auth/tokens/:id',
      operation: {
        id: 'revokeApiToken',
        summary: 'Ends an API token',
        answers: { 204: 'Done' },
        errors: { ...refused, 404: noSuchToken },
      },
    },
  ];
}

const noSuchToken = 'There is no such token';
const refused = {
  400: 'The request is not valid',
  403: 'The request came from another site, or the user has no session',
};
const refusedBody = {
  ...refused,
  401: 'The request has no valid session, or the session is older than 15 minutes',
  403: 'The request came from another site, or the user has no session or lacks a role',
  413: 'The body is larger than 16 KiB',
  415: 'The body is not JSON',
  429: 'The user got 60 tokens in this hour; see Retry-After',
};

/** Throws unless the user signed in a short time ago (RFC 9470). */
function requireFresh({ authenticatedAt }: Session, now: number): void {
  if (now - authenticatedAt.getTime() <= freshFor * 1000) return;
  const challenge = `Bearer realm="koa-taskflow", error="insufficient_user_authentication"`;
  throw new TaskflowError(
    'UNAUTHENTICATED',
    'A new token needs a session that is younger than 15 minutes. Sign in again.',
    { headers: { 'WWW-Authenticate': `${challenge}, max_age="${freshFor}"` } },
  );
}

async function create(
  { ctx, own, owner }: TokenRequest,
  { issuer, log }: TokenRoutesDeps,
): Promise<void> {
  const { name, roles, expiresIn } = await bodyOf(ctx, ['name', 'roles', 'expiresIn']);
  const lacks = Array.isArray(roles) ? roles.find((role) => !hasRole(own.roles, role)) : undefined;
  if (typeof lacks === 'string')
    throw new TaskflowError(
      'FORBIDDEN',
      `Your session does not have the role ${lacks}, so the token cannot have it.`,
    );
  // `create` checks the members of the body.
  const token = { name, owner, roles, expiresIn } as NewToken;
  const created = await refusing(issuer.create(token));
  log.token(requestInfo(ctx), own, 'token_created', created.id, owner);
  ctx.status = 201;
  ctx.body = created;
}

async function list({ ctx, own, owner }: TokenRequest, { issuer }: TokenRoutesDeps): Promise<void> {
  ctx.body = { items: await visible(own, owner, issuer) };
}

async function rotate(
  { ctx, own, owner, id }: TokenRequest,
  { issuer, log }: TokenRoutesDeps,
): Promise<void> {
  const options = await bodyOf(ctx, ['keepOldFor']);
  if (!(await issuer.list({ owner })).some((token) => token.id === id)) throw notFound();
  const created = await refusing(issuer.rotate(id, options));
  log.token(requestInfo(ctx), own, 'token_rotated', id, owner);
  ctx.status = 201;
  ctx.body = created;
}

async function revoke(
  { ctx, own, owner, id }: TokenRequest,
  { issuer, log }: TokenRoutesDeps,
): Promise<void> {
  const found = (await visible(own, owner, issuer)).find((token) => token.id === id);
  if (!found || !(await issuer.revoke(id))) throw notFound();
  log.token(requestInfo(ctx), own, 'token_revoked', id, found.owner);
  ctx.status = 204;
}

/** Resolves to the tokens that a user may see: all of them for an administrator. */
async function visible(
  { roles }: Session,
  owner: string,
  issuer: TokenIssuer,
): Promise<readonly TokenInfo[]> {
  return issuer.list(hasRole(roles, 'admin') ? {} : { owner });
}

function notFound(): TaskflowError {
  return new TaskflowError('NOT_FOUND', 'There is no such token; it may have ended.');
}

/** Reads a JSON body with these members only. An empty body has none of them. */
async function bodyOf(ctx: Context, names: readonly string[]): Promise<Record<string, unknown>> {
  if (!hasBody(ctx)) return {};
  const { fields } = await readBody(ctx, { types: ['json'], limit: bodyLimit });
  const unknown = Object.keys(fields).find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new TaskflowError(
      'INVALID_INPUT',
      `Unknown member ${quote(unknown)}.${didYouMean(unknown, names)} ` +
        `Allowed: ${names.join(', ')}.`,
    );
  return fields;
}

/** Turns the error of a wrong argument into an answer. */
async function refusing<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const isArgument = error instanceof TypeError || error instanceof RangeError;
    if (isArgument && (error as { code?: unknown }).code === 'INVALID_INPUT')
      throw new TaskflowError('INVALID_INPUT', `${error.message}.`, { cause: error });
    throw error;
  }
}
