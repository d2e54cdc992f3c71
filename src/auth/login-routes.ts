import type { Context, Middleware } from 'koa';
import { TaskflowError } from '../errors.js';
import { builtAssets } from '../http/assets.js';
import { isOfType, readBody } from '../http/body.js';
import { clientAddress } from '../http/client-address.js';
import { isNavigation } from '../http/navigation.js';
import { toTaskflowError } from '../http/problem.js';
import { hasBearer, type Route, routeTable } from '../http/routes.js';
import { isSafeMethod } from '../http/same-origin.js';
import { type Auth, type AuthParts, partsOf } from './create-auth.js';
import { logIn, tellThrottled } from './login.js';
import { type LoginPage, sendLoginPage } from './login-page.js';
import { isSafeNext } from './next.js';
import { sessionRoutes } from './session-routes.js';
import { currentSession, sessionsToEnd } from './sessions/current-session.js';
import { endOf } from './sessions/session.js';
import { nameId } from './throttle/familiar-places.js';

/** Bytes of a login's body. */
const bodyLimit = 16 * 1024;

interface LoginForm {
  username: string;
  password: string;
  strategy: string | undefined;
  next: string | undefined;
}

/**
 * The login page, its form, logout and the user's own sessions, below the path of `auth`: `auth/login`, `auth/logout`,
 * `auth/session`, `auth/sessions` and their style under `auth/assets`. Passes on all else.
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
  const open = (handle: (ctx: Context) => Promise<void>): Pick<Route, 'need' | 'handler'> => ({
    need: 'public',
    handler: async (ctx) => {
      await parts.ownStore();
      await handle(ctx);
    },
  });
  const routes: Route[] = [
    { method: 'GET', path: '/auth/login', errors: 'page', ...open((ctx) => showLogin(ctx, auth, parts)) },
    { method: 'POST', path: '/auth/login', errors: 'form', ...open((ctx) => login(ctx, auth, parts)) },
    { method: 'GET', path: '/auth/logout', errors: 'page', head: false, ...open((ctx) => logout(ctx, parts, 302)) },
    { method: 'POST', path: '/auth/logout', errors: 'form', ...open((ctx) => logout(ctx, parts, 303)) },
    { method: 'GET', path: '/auth/assets/:file', need: 'public', handler: (ctx, { params }) => assets.send(ctx, params.file ?? '') },
    ...sessionRoutes(auth, parts),
  ];
  return routeTable({
    name: 'loginRoutes',
    mount: parts.mount,
    access: auth,
    routes,
    assets: '/auth/assets',
    trustedOrigins: parts.trustedOrigins,
    logger: parts.logger,
  });
}

/** For so many milliseconds after it the end of a session is news. */
const worthTelling = 86_400_000;

/** What a person should know who had a session and finds themselves at the login. */
function noticeFor(ctx: Context, { cookies, tokens, devices }: AuthParts): string | undefined {
  const sessions = cookies.session.read(ctx).flatMap((token) => tokens.read(token) ?? []);
  if (sessions.some((session) => tokens.isCurrent(session))) return 'Your session was ended. Sign in again to go on where you were.';
  // A browser drops the cookie of a session with its end, and keeps the one that says when that was.
  const past = Date.now() - (devices.read(ctx)?.sessionEnd ?? 0);
  const expired = sessions.length > 0 || (past >= 0 && past < worthTelling);
  return expired ? 'Your session has expired. Sign in again to go on where you were.' : undefined;
}

async function showLogin(ctx: Context, auth: Auth, parts: AuthParts): Promise<void> {
  const { next } = ctx.query;
  const wanted = isSafeNext(next) ? next : undefined;
  let notice: string | undefined;
  try {
    if (await currentSession(ctx, auth, parts)) return ctx.redirect(wanted ?? homeOf(ctx, parts));
    notice = noticeFor(ctx, parts);
  } catch {
    // If a strategy cannot say whether its session holds, another one may still let the person in.
  }
  sendLoginPage(ctx, pageParts(ctx, parts, { next: wanted, notice }));
}

function homeOf(ctx: Context, { mount, home }: AuthParts): string {
  return mount.base(ctx) + home;
}

function pageParts(ctx: Context, { title, logo, mount, registry }: AuthParts, more: Partial<LoginPage>): LoginPage {
  return { title, logo, prefix: mount.outside(ctx), strategies: registry.names(), ...more };
}

async function login(ctx: Context, auth: Auth, parts: AuthParts): Promise<void> {
  const asPage = isOfType(ctx, 'form');
  let form: LoginForm | undefined;
  parts.adviseOnProxy(ctx);
  try {
    form = await readForm(ctx, parts);
    const { session, token } = await logIn(ctx, auth, parts, form, asPage ? 'form' : 'json');
    if (!asPage) {
      ctx.body = { token, tokenType: 'Bearer', username: session.username, expiresAt: session.expiresAt };
      return;
    }
    parts.cookies.session.write(ctx, token, (session.expiresAt.getTime() - Date.now()) / 1000);
    parts.devices.mark(ctx, {
      strategy: session.strategy,
      nameId: nameId(form.username),
      username: session.username,
      version: parts.tokens.versionOf(session),
      loginAt: session.authenticatedAt.getTime(),
      signOut: parts.tokens.signOutOf(session),
      sessionEnd: session.expiresAt.getTime(),
    });
    ctx.redirect(form.next ?? homeOf(ctx, parts));
    ctx.status = 303;
  } catch (thrown) {
    const error = toTaskflowError(thrown);
    if (!asPage || !error.expose) throw error;
    ctx.status = error.status;
    ctx.set(error.headers);
    sendLoginPage(ctx, pageParts(ctx, parts, { ...form, message: error.message, retryAfter: error.headers['Retry-After'] }));
  }
}

/** Reads the body of a login; one that is none is counted by its address. */
async function readForm(ctx: Context, parts: AuthParts): Promise<LoginForm> {
  try {
    return formOf((await readBody(ctx, { types: ['json', 'form'], limit: bodyLimit })).fields);
  } catch (error) {
    await parts.throttle.malformed(clientAddress(ctx), tellThrottled(ctx, parts, undefined));
    parts.log.fail(ctx, 'malformed', undefined, 1);
    throw error;
  }
}

/** Takes the members that count and checks each; what else a body holds is ignored. */
function formOf(fields: Readonly<Record<string, unknown>>): LoginForm {
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
  if (/[\0\p{Cs}\ufffd]/u.test(value)) throw new TaskflowError('INVALID_INPUT', `${name} holds a character that is no text.`);
  return value;
}

/** Headers by which browsers of now and before say that they fetch a page before a person asks for it. */
const prefetchHeaders = ['Sec-Purpose', 'Purpose', 'X-Purpose', 'X-Moz'];

/** A logout is also a GET, so that a link can sign out. Other sites, prefetching, images, frames and scripts must not. */
function refuseUnwantedLogout(ctx: Context): void {
  const [site, destination] = [ctx.get('Sec-Fetch-Site'), ctx.get('Sec-Fetch-Dest')];
  // The route table has checked where a POST came from, and let trusted origins through.
  const isForeign = isSafeMethod(ctx.method) && site !== '' && site !== 'same-origin' && site !== 'none';
  const isPart = destination !== '' && destination !== 'document' && destination !== 'empty';
  const isEarly = prefetchHeaders.some((name) => /prefetch|preview|prerender/i.test(ctx.get(name)));
  if (isForeign || isPart || isEarly)
    throw new TaskflowError('CROSS_ORIGIN', 'You can sign out only from a page of this site that is open in your browser.');
}

async function logout(ctx: Context, parts: AuthParts, status: 302 | 303): Promise<void> {
  refuseUnwantedLogout(ctx);
  parts.cookies.session.clear(ctx);
  parts.devices.signedOut(ctx);
  // Two of them are no session to anyone else, but each holds by itself in a copied cookie.
  for (const session of await sessionsToEnd(ctx, parts)) {
    await parts.revocations.end(session.id, endOf(session, parts.tokenExpiry));
    parts.log.ended(ctx, session, session, 'logout');
  }
  // A Bearer header does not make a script: a proxy may add one to the form that a person sends.
  const isScript = (hasBearer(ctx) && !isNavigation(ctx)) || ctx.accepts('html', 'json') === 'json';
  if (ctx.method === 'POST' && isScript) {
    ctx.status = 204;
    return;
  }
  ctx.redirect(`${parts.mount.outside(ctx)}/auth/login`);
  ctx.status = status;
}
