import { randomBytes } from 'node:crypto';
import type { Context, Middleware } from 'koa';
import { TaskflowError } from '../errors.js';
import { builtAssets } from '../http/assets.js';
import { readBody } from '../http/body.js';
import { sendError, toTaskflowError } from '../http/problem.js';
import { requestId } from '../http/request-id.js';
import { hasBearer, type Route, routeTable } from '../http/routes.js';
import { type Auth, type AuthParts, partsOf } from './create-auth.js';
import { type LoginPage, sendLoginPage } from './login-page.js';
import { isSafeNext } from './next.js';
import { currentSession } from './read-session.js';
import type { Authenticated } from './registry.js';
import type { Session } from './session.js';

/** Bytes of a login's body. */
const bodyLimit = 16 * 1024;

interface LoginForm {
  username: string;
  password: string;
  strategy: string | undefined;
  next: string | undefined;
}

/**
 * The login page, its form, logout and the session's own data, below the path of `auth`: `auth/login`, `auth/logout`,
 * `auth/session` and their style under `auth/assets`. Passes on all else.
 *
 * @example
 * ```ts
 * app.use(sessionToken(auth));
 * app.use(loginRoutes(auth));
 * ```
 */
export function loginRoutes(auth: Auth): Middleware {
  const parts = partsOf(auth);
  const assets = builtAssets();
  const routes: Route[] = [
    { method: 'GET', path: '/auth/login', need: 'public', errors: 'page', handler: (ctx) => showLogin(ctx, auth, parts) },
    { method: 'POST', path: '/auth/login', need: 'public', errors: 'form', handler: (ctx) => login(ctx, auth, parts) },
    { method: 'GET', path: '/auth/logout', need: 'public', errors: 'page', handler: (ctx) => logout(ctx, auth, parts, 302) },
    { method: 'POST', path: '/auth/logout', need: 'public', errors: 'form', handler: (ctx) => logout(ctx, auth, parts, 303) },
    { method: 'GET', path: '/auth/session', need: 'viewer', handler: (ctx) => showSession(ctx, auth, parts) },
    { method: 'GET', path: '/auth/assets/:file', need: 'public', handler: (ctx, { params }) => assets.send(ctx, params.file ?? '') },
  ];
  return routeTable({
    name: 'loginRoutes',
    mount: parts.mount,
    access: auth,
    routes,
    trustedOrigins: parts.trustedOrigins,
    logger: parts.logger,
  });
}

async function showLogin(ctx: Context, auth: Auth, parts: AuthParts): Promise<void> {
  const { next } = ctx.query;
  const wanted = isSafeNext(next) ? next : undefined;
  if (await currentSession(ctx, auth, parts)) return ctx.redirect(wanted ?? homeOf(ctx, parts));
  sendLoginPage(ctx, pageParts(ctx, parts, { next: wanted }));
}

function homeOf(ctx: Context, { mount, home }: AuthParts): string {
  return mount.base(ctx) + home;
}

function pageParts(ctx: Context, { title, mount, registry }: AuthParts, more: Partial<LoginPage>): LoginPage {
  return { title, prefix: mount.outside(ctx), strategies: registry.names(), ...more };
}

async function login(ctx: Context, auth: Auth, parts: AuthParts): Promise<void> {
  const asPage = Boolean(ctx.is('application/x-www-form-urlencoded'));
  const started = performance.now();
  let form: LoginForm | undefined;
  try {
    form = readForm((await readBody(ctx, { types: ['json', 'form'], limit: bodyLimit })).fields);
    const found = await authenticate(ctx, parts, form);
    const session = await openSession(ctx, auth, parts, found);
    parts.log.success(ctx, session, Math.round(performance.now() - started));
    if (asPage) enter(ctx, parts, session, form.next);
    else sendToken(ctx, parts, session);
  } catch (thrown) {
    const error = toTaskflowError(thrown);
    if (form === undefined) await parts.log.fail(ctx, 'malformed', undefined);
    if (!asPage || error.status === 500) return sendError(ctx, error, asPage ? 'page' : 'json', parts.logger);
    ctx.status = error.status;
    ctx.set(error.headers);
    sendLoginPage(
      ctx,
      pageParts(ctx, parts, {
        ...form,
        message: `${error.code === 'INVALID_CREDENTIALS' ? error.title : error.message}${error.code === 'INVALID_CREDENTIALS' ? '.' : ''}`,
      }),
    );
  }
}

/** Reads the members that count and checks each; what else a body holds is ignored. */
function readForm(fields: Readonly<Record<string, unknown>>): LoginForm {
  const own = (name: string): unknown => (Object.hasOwn(fields, name) ? fields[name] : undefined);
  const strategy = own('strategy');
  const next = own('next');
  if (strategy !== undefined && typeof strategy !== 'string') throw new TaskflowError('INVALID_INPUT', 'strategy must be one string.');
  return {
    username: credential('username', own('username'), 256),
    password: credential('password', own('password'), 1024),
    strategy: strategy === '' ? undefined : strategy,
    next: isSafeNext(next) ? next : undefined,
  };
}

/** Exactly as it was typed: no trimming, no cutting, no folding. */
function credential(name: string, value: unknown, maxBytes: number): string {
  if (typeof value !== 'string' || value === '') throw new TaskflowError('INVALID_INPUT', `${name} is missing, or is not one string.`);
  if (Buffer.byteLength(value) > maxBytes) throw new TaskflowError('INVALID_INPUT', `${name} may have ${maxBytes} bytes.`);
  if (/[\0\p{Cs}]/u.test(value)) throw new TaskflowError('INVALID_INPUT', `${name} holds a character that is no text.`);
  return value;
}

async function authenticate(
  ctx: Context,
  { registry, log }: AuthParts,
  { username, password, strategy }: LoginForm,
): Promise<Authenticated> {
  let reason: 'bad_credentials' | 'unknown_strategy' | 'strategy_error' | 'timeout' = 'bad_credentials';
  if (strategy !== undefined && !registry.get(strategy)) reason = 'unknown_strategy';
  const found = await registry.authenticate(
    { username, password, strategy },
    {
      ip: ctx.ip,
      requestId: requestId(ctx),
      onError(name, error, durationMs) {
        reason = error instanceof Error && error.name === 'TimeoutError' ? 'timeout' : 'strategy_error';
        log.strategyError(ctx, name, error, durationMs, [password, username]);
      },
    },
  );
  if (found) return found;
  await log.fail(ctx, reason, username);
  throw new TaskflowError('INVALID_CREDENTIALS', 'Invalid username or password.', {
    headers: { 'WWW-Authenticate': 'Bearer realm="koa-taskflow"' },
  });
}

/** Makes a new session, and ends the one the request came with, so that nothing from before a login outlives it. */
async function openSession(ctx: Context, auth: Auth, parts: AuthParts, found: Authenticated): Promise<Session> {
  const before = await currentSession(ctx, auth, parts);
  if (before) await parts.revocations.add(before.id, before.expiresAt);
  const issuedAt = new Date();
  return {
    id: randomBytes(16).toString('base64url'),
    ...found,
    issuedAt,
    expiresAt: new Date(issuedAt.getTime() + parts.tokenExpiry * 1000),
    authenticatedAt: issuedAt,
  };
}

function enter(ctx: Context, parts: AuthParts, session: Session, next: string | undefined): void {
  parts.cookie.write(ctx, parts.tokens.sign(session), (session.expiresAt.getTime() - Date.now()) / 1000);
  ctx.redirect(next ?? homeOf(ctx, parts));
  ctx.status = 303;
}

function sendToken(ctx: Context, { tokens }: AuthParts, session: Session): void {
  ctx.body = { token: tokens.sign(session), tokenType: 'Bearer', username: session.username, expiresAt: session.expiresAt };
}

async function logout(ctx: Context, auth: Auth, parts: AuthParts, status: 302 | 303): Promise<void> {
  const site = ctx.get('Sec-Fetch-Site');
  if ((site !== '' && site !== 'same-origin' && site !== 'none') || ctx.get('Sec-Purpose').includes('prefetch')) {
    throw new TaskflowError('CROSS_ORIGIN', 'Only this site may sign you out.');
  }
  const session = await currentSession(ctx, auth, parts);
  if (session) {
    await parts.revocations.add(session.id, session.expiresAt);
    parts.log.sessionEnded(ctx, session, 'logout');
  }
  parts.cookie.clear(ctx);
  if (ctx.method === 'POST' && (hasBearer(ctx) || ctx.accepts('html', 'json') === 'json')) {
    ctx.status = 204;
    return;
  }
  ctx.redirect(`${parts.mount.outside(ctx)}/auth/login`);
  ctx.status = status;
}

async function showSession(ctx: Context, auth: Auth, parts: AuthParts): Promise<void> {
  const session = await currentSession(ctx, auth, parts);
  if (!session) throw new TaskflowError('UNAUTHENTICATED', 'This needs a session.');
  const { username, strategy, roles, issuedAt, expiresAt } = session;
  ctx.body = { username, strategy, roles, issuedAt, expiresAt };
}
