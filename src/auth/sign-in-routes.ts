import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import { builtAssets } from '../http/assets.js';
import { hasBearer } from '../http/auth-errors.js';
import { isOfType } from '../http/body.js';
import type { Mount } from '../http/mount.js';
import { isNavigation } from '../http/navigation.js';
import { toTaskflowError } from '../http/problem.js';
import type { Route } from '../http/routes.js';
import { isSafeMethod } from '../http/same-origin.js';
import type { AuthLog } from './auth-log.js';
import type { LogIn } from './login.js';
import type { LoginAttempt } from './login-attempt.js';
import { type LoginForm, readForm } from './login-form.js';
import { type LoginPage, sendLoginPage } from './login-page.js';
import { isSafeNext } from './next.js';
import { answerOf, credentialsSchema, inQuery, type LoginRoute, tokenSchema } from './openapi.js';
import { signOutAtProxy } from './proxy-sign-out.js';
import { requestInfo } from './request-info.js';
import type { Cookies } from './sessions/cookies.js';
import type { SessionReader } from './sessions/current-session.js';
import type { Devices } from './sessions/device-cookies.js';
import type { Revocations } from './sessions/revocations.js';
import { endOf } from './sessions/session.js';
import type { Tokens } from './sessions/tokens.js';
import type { StrategyRegistry } from './strategies/registry.js';
import { nameId } from './throttle/familiar-places.js';
import type { Throttle } from './throttle/throttle.js';

/*
 * The routes of the login page, the login, the logout and their style. A login is read into a
 * `LoginAttempt` here. `logIn` (`login.ts`) checks it and opens a session, without the Koa context.
 * Then the cookies and the page are written here. A logout ends every session of the request.
 */

/** The parts that the login routes use. */
export interface SignInDeps {
  mount: Mount;
  reader: Pick<SessionReader, 'of' | 'replace' | 'tokensOf' | 'openOf' | 'identityOf'>;
  registry: Pick<StrategyRegistry, 'names'>;
  tokens: Pick<Tokens, 'read' | 'isCurrent' | 'versionOf' | 'signOutOf'>;
  cookies: Cookies;
  devices: Devices;
  revocations: Pick<Revocations, 'end'>;
  throttle: Pick<Throttle, 'malformed'>;
  log: Pick<AuthLog, 'fail' | 'throttled' | 'ended'>;
  logIn: LogIn;
  /** Seconds that a session lasts from its login. */
  tokenExpiry: number;
  /** Path to which a login redirects if no page was requested. */
  home: string;
  title: string;
  logo: string | undefined;
  /** Rejects if the store belongs to another app; `undefined` if it is known to be this login's. */
  ownStore: () => Promise<void> | undefined;
  /** Checks a request for signs of a proxy that the app is not configured for. */
  adviseOnProxy: (ctx: Context) => void;
}

/** Returns the rows of the login routes. */
export function signInRoutes(deps: SignInDeps): LoginRoute[] {
  const assets = builtAssets();
  const open = (handle: (ctx: Context) => Promise<void>): Omit<Route, 'method' | 'path'> => ({
    requiredRole: 'public',
    // A logout must not fail because a form or a proxy adds a parameter.
    takesBody: true,
    handler: async (ctx) => {
      await deps.ownStore();
      await handle(ctx);
    },
  });
  const logout = (status: 302 | 303) => ({
    ...open((ctx) => logOut(ctx, deps, status)),
    path: '/auth/logout',
  });
  return [
    {
      ...open((ctx) => showLogin(ctx, deps)),
      method: 'GET',
      path: '/auth/login',
      errors: 'page',
      operation: {
        id: 'showLogin',
        summary: 'The login page',
        query: [inQuery('next', 'The path to redirect to after the login')],
        answers: {
          200: answerOf('The page', undefined, 'text/html'),
          302: 'The user is signed in already',
        },
        errors: { 400: 'The request is not valid' },
      },
    },
    {
      ...open((ctx) => logInByRequest(ctx, deps)),
      method: 'POST',
      path: '/auth/login',
      errors: 'form',
      operation: {
        id: 'login',
        summary: 'Signs in. A JSON client gets a token, a form gets a cookie',
        body: credentialsSchema,
        answers: {
          200: answerOf('A token', tokenSchema),
          303: 'The session cookie and the redirect',
        },
        errors: {
          400: 'The body is not valid',
          401: 'Wrong name or password',
          403: foreign,
          408: 'The body did not arrive in time',
          413: 'The body is larger than 16 KiB',
          415: 'The body is neither JSON nor a form',
          429: 'Too many attempts; see Retry-After',
          503: 'The store does not answer',
        },
      },
    },
    {
      ...logout(302),
      method: 'GET',
      errors: 'page',
      head: false,
      operation: {
        id: 'followLogout',
        summary: 'Signs out and redirects to the login page',
        answers: { 302: 'Signed out' },
        errors: { 403: foreign },
      },
    },
    {
      ...logout(303),
      method: 'POST',
      errors: 'form',
      operation: {
        id: 'logout',
        summary: 'Signs out',
        answers: {
          204: 'Signed out',
          303: 'Signed out, for a form',
        },
        errors: { 403: foreign },
      },
    },
    {
      method: 'GET',
      path: '/auth/assets/:file',
      requiredRole: 'public',
      handler: (ctx, { params }) => assets.send(ctx, params.file ?? ''),
      operation: null,
    },
  ];
}

const foreign = 'The request came from another site';

/** Milliseconds for which the login page says that a session has expired. */
const noticePeriod = 86_400_000;

type NoticeDeps = Pick<SignInDeps, 'cookies' | 'tokens' | 'devices'>;

/** Returns the notice of the login page for a user whose session is over. */
function noticeFor(ctx: Context, { cookies, tokens, devices }: NoticeDeps): string | undefined {
  const sessions = cookies.session.read(ctx).flatMap((token) => tokens.read(token) ?? []);
  if (sessions.some((session) => tokens.isCurrent(session)))
    return 'Your session was ended. Sign in again to continue.';
  // Browsers drop the cookie of a session when it expires. The device cookie still has the time.
  const past = Date.now() - (devices.read(ctx)?.sessionEnd ?? 0);
  const expired = sessions.length > 0 || (past >= 0 && past < noticePeriod);
  return expired ? 'Your session has expired. Sign in again to continue.' : undefined;
}

async function showLogin(ctx: Context, deps: SignInDeps): Promise<void> {
  const { next } = ctx.query;
  const wanted = isSafeNext(next) ? next : undefined;
  let notice: string | undefined;
  try {
    if (await deps.reader.of(ctx)) return ctx.redirect(wanted ?? homeOf(ctx, deps));
    notice = noticeFor(ctx, deps);
  } catch {
    // If the strategy of a session does not answer, the user may sign in with another strategy.
  }
  sendLoginPage(ctx, pageOf(ctx, deps, { next: wanted, notice }));
}

function homeOf(ctx: Context, { mount, home }: Pick<SignInDeps, 'mount' | 'home'>): string {
  return mount.base(ctx) + home;
}

type PageDeps = Pick<SignInDeps, 'title' | 'logo' | 'mount' | 'registry'>;

function pageOf(
  ctx: Context,
  { title, logo, mount, registry }: PageDeps,
  more: Partial<LoginPage>,
): LoginPage {
  return {
    title,
    logo,
    prefix: mount.outside(ctx),
    strategies: registry.names('password'),
    ...more,
  };
}

async function logInByRequest(ctx: Context, deps: SignInDeps): Promise<void> {
  const asPage = isOfType(ctx, 'form');
  let form: LoginForm | undefined;
  deps.adviseOnProxy(ctx);
  try {
    form = await readForm(ctx, deps);
    const { session, token } = await deps.logIn(attemptOf(ctx, form, deps));
    deps.reader.replace(ctx, session);
    if (!asPage) {
      const { username, expiresAt } = session;
      ctx.body = { token, tokenType: 'Bearer', username, expiresAt };
      return;
    }
    const { cookies, devices, tokens } = deps;
    cookies.session.write(ctx, token, (session.expiresAt.getTime() - Date.now()) / 1000);
    devices.mark(ctx, {
      strategy: session.strategy,
      nameId: nameId(form.username),
      username: session.username,
      version: tokens.versionOf(session),
      loginAt: session.authenticatedAt.getTime(),
      signOut: tokens.signOutOf(session),
      sessionEnd: session.expiresAt.getTime(),
    });
    ctx.redirect(form.next ?? homeOf(ctx, deps));
    ctx.status = 303;
  } catch (thrown) {
    const error = toTaskflowError(thrown);
    if (!asPage || !error.expose) throw error;
    ctx.status = error.status;
    ctx.set(error.headers);
    const retryAfter = error.headers['Retry-After'];
    sendLoginPage(ctx, pageOf(ctx, deps, { ...form, message: error.message, retryAfter }));
  }
}

type AttemptDeps = Pick<SignInDeps, 'cookies' | 'devices' | 'reader'>;

/** Reads all data of the request that a login needs. */
function attemptOf(
  ctx: Context,
  { username, password, strategy }: LoginForm,
  { cookies, devices, reader }: AttemptDeps,
): LoginAttempt {
  return {
    username,
    password,
    strategy,
    via: isOfType(ctx, 'form') ? 'form' : 'json',
    request: requestInfo(ctx),
    device: devices.read(ctx),
    tokens: reader.tokensOf(ctx),
    cookieName: cookies.session.nameFor(ctx),
  };
}

/** Headers that browsers send when they fetch a page before the user opens it. */
const prefetchHeaders = ['Sec-Purpose', 'Purpose', 'X-Purpose', 'X-Moz'];

/**
 * Refuses a logout that the user did not request. A link can sign out with GET, but other sites,
 * prefetching, images, frames and scripts must not.
 */
function refuseUnwantedLogout(ctx: Context): void {
  const [site, destination] = [ctx.get('Sec-Fetch-Site'), ctx.get('Sec-Fetch-Dest')];
  // The route table has already checked the origin of a POST, and accepted trusted origins.
  const isForeign =
    isSafeMethod(ctx.method) && site !== '' && site !== 'same-origin' && site !== 'none';
  const isPart = destination !== '' && destination !== 'document' && destination !== 'empty';
  const isEarly = prefetchHeaders.some((name) => /prefetch|preview|prerender/i.test(ctx.get(name)));
  if (isForeign || isPart || isEarly)
    throw new TaskflowError(
      'CROSS_ORIGIN',
      'You can sign out only from a page of this site that is open in your browser.',
    );
}

async function logOut(ctx: Context, deps: SignInDeps, status: 302 | 303): Promise<void> {
  const { reader, cookies, devices, revocations, log, tokenExpiry } = deps;
  refuseUnwantedLogout(ctx);
  cookies.session.clear(ctx);
  devices.signedOut(ctx);
  const request = requestInfo(ctx);
  // A request with two valid sessions counts as anonymous. Both sessions end, because each would be
  // valid alone in a copied cookie.
  for (const session of await reader.openOf(reader.tokensOf(ctx), request)) {
    await revocations.end(session.id, endOf(session, tokenExpiry));
    log.ended(request, session, session, 'logout');
  }
  // A Bearer token does not prove that a script sent the request: a proxy may have added it.
  const isScript = (hasBearer(ctx) && !isNavigation(ctx)) || ctx.accepts('html', 'json') === 'json';
  if (await signOutAtProxy(ctx, reader, { status, isScript })) return;
  if (ctx.method === 'POST' && isScript) {
    ctx.status = 204;
    return;
  }
  ctx.redirect(`${deps.mount.outside(ctx)}/auth/login`);
  ctx.status = status;
}
