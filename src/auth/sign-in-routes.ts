import type { Context } from 'koa';
import type { TaskflowError } from '../errors.js';
import { builtAssets } from '../http/assets.js';
import { isOfType } from '../http/body.js';
import { toTaskflowError } from '../http/problem.js';
import type { Route } from '../http/routes.js';
import type { AuthLog } from './auth-log.js';
import type { LogIn } from './login.js';
import type { LoginAttempt } from './login-attempt.js';
import { type LoginForm, readForm } from './login-form.js';
import { type LogoutDeps, logOut, showSignedOut } from './logout.js';
import { filled, type Messages } from './messages.js';
import { isSafeNext } from './next.js';
import { answerOf, credentialsSchema, inQuery, type LoginRoute, tokenSchema } from './openapi.js';
import type { Attempts } from './redirects/attempts.js';
import { requestInfo } from './request-info.js';
import type { Cookies } from './sessions/cookies.js';
import type { SessionReader } from './sessions/current-session.js';
import type { Devices } from './sessions/device-cookies.js';
import { setSession } from './sessions/set-session.js';
import type { Tokens } from './sessions/tokens.js';
import type { Health } from './strategies/health.js';
import type { StrategyRegistry } from './strategies/registry.js';
import type { Throttle } from './throttle/throttle.js';

/*
 * The routes of the login page, the login with a password, the logout and their style. A login is
 * read into a `LoginAttempt` here. `logIn` (`login.ts`) checks it and opens a session, without the
 * Koa context. Then the cookies and the page are written here.
 */

/** The parts that the login routes use. */
export interface SignInDeps extends LogoutDeps {
  reader: Pick<SessionReader, 'of' | 'replace' | 'tokensOf' | 'openOf' | 'identityOf'>;
  registry: Pick<StrategyRegistry, 'names'>;
  tokens: Pick<Tokens, 'read' | 'isCurrent' | 'versionOf' | 'signOutOf'>;
  cookies: Cookies;
  devices: Devices;
  attempts: Pick<Attempts, 'isAnyOpen'>;
  health: Pick<Health, 'down'>;
  throttle: Pick<Throttle, 'malformed'>;
  log: Pick<AuthLog, 'fail' | 'throttled' | 'ended'>;
  logIn: LogIn;
  /** Path to which a login redirects if no page was requested. */
  home: string;
  /**
   * Rejects if there are no secret keys yet, or if the store belongs to another app. Returns
   * `undefined` if the login can be used.
   */
  usable: () => Promise<void> | undefined;
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
      await deps.usable();
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
        query: [
          inQuery('next', 'The path to redirect to after the login'),
          inQuery('form', 'Shows the page in any case, without going to a provider at once'),
        ],
        answers: {
          200: answerOf('The page', undefined, 'text/html'),
          302: 'The user is signed in already, or the login continues at a provider',
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
      ...open(async (ctx) => showSignedOut(ctx, deps)),
      method: 'GET',
      path: '/auth/signed-out',
      errors: 'page',
      head: false,
      operation: {
        id: 'showSignedOut',
        summary: 'Says that the user is signed out, and continues to the provider',
        answers: { 200: answerOf('The page', undefined, 'text/html') },
        errors: { 405: 'Only GET is allowed' },
      },
    },
    {
      // Anonymous requests lead to the login page: only a user who has signed in may read that.
      requiredRole: 'page',
      handler: (ctx) => showDone(ctx, deps),
      method: 'GET',
      path: '/auth/done',
      errors: 'page',
      operation: {
        id: 'showDone',
        summary: 'Says that the user is signed in, and tells the other tabs of the browser',
        answers: {
          200: answerOf('The page', undefined, 'text/html'),
          302: 'The login page, if the user is not signed in',
        },
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

type NoticeDeps = Pick<SignInDeps, 'cookies' | 'tokens' | 'devices' | 'pages'>;

/** Returns the notice of the login page for a user whose session is over. */
function noticeFor(
  ctx: Context,
  { cookies, tokens, devices, pages }: NoticeDeps,
): string | undefined {
  const sessions = cookies.session.read(ctx).flatMap((token) => tokens.read(token) ?? []);
  if (sessions.some((session) => tokens.isCurrent(session))) return pages.messages.sessionEnded;
  // Browsers drop the cookie of a session when it expires. The device cookie still has the time.
  const past = Date.now() - (devices.read(ctx)?.sessionEnd ?? 0);
  const expired = sessions.length > 0 || (past >= 0 && past < noticePeriod);
  return expired ? pages.messages.sessionExpired : undefined;
}

async function showLogin(ctx: Context, deps: SignInDeps): Promise<void> {
  const { pages, attempts, autoStart, registry } = deps;
  const { next, form } = ctx.query;
  const wanted = isSafeNext(next) ? next : undefined;
  let notice: string | undefined;
  try {
    if (await deps.reader.of(ctx)) return ctx.redirect(wanted ?? homeOf(ctx, deps));
    notice = noticeFor(ctx, deps);
  } catch {
    // If the strategy of a session does not answer, the user may sign in with another strategy.
  }
  const down = await deps.health.down();
  // The browser would show an error page of its own instead of the other ways to sign in.
  const isUp = !down.some(({ name }) => name === autoStart);
  const isAutomatic = autoStart !== undefined && form === undefined && notice === undefined;
  if (isAutomatic && isUp && ctx.method === 'GET' && !attempts.isAnyOpen(ctx)) {
    const query = wanted === undefined ? '' : `?next=${encodeURIComponent(wanted)}`;
    return ctx.redirect(`${deps.mount.outside(ctx)}/auth/start/${autoStart}${query}`);
  }
  if (form !== undefined && registry.names('password').length === 0)
    notice ??= pages.messages.noForm;
  pages.login(ctx, { next: wanted, notice, down });
}

/**
 * The page that ends a sign-in in a tab of its own. The script tells the tab that waits for it, and
 * closes this one if the browser allows that.
 */
function showDone(ctx: Context, deps: SignInDeps): void {
  const { signedIn, closeTab, goOn } = deps.pages.messages;
  deps.pages.notice(ctx, {
    heading: signedIn,
    text: closeTab,
    link: { href: homeOf(ctx, deps), text: goOn },
    isAutomatic: false,
    isSignedIn: true,
  });
}

function homeOf(ctx: Context, { mount, home }: Pick<SignInDeps, 'mount' | 'home'>): string {
  return mount.base(ctx) + home;
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
    setSession(ctx, { session, token }, form.username, deps);
    ctx.redirect(form.next ?? homeOf(ctx, deps));
    ctx.status = 303;
  } catch (thrown) {
    const error = toTaskflowError(thrown);
    if (!asPage || !error.expose) throw error;
    ctx.status = error.status;
    ctx.set(error.headers);
    const retryAfter = error.headers['Retry-After'];
    deps.pages.login(ctx, { ...form, message: messageOf(error, deps.pages.messages), retryAfter });
  }
}

/** Returns the text of the login page for an error of a login. */
function messageOf({ code, message, headers }: TaskflowError, messages: Messages): string {
  if (code === 'INVALID_CREDENTIALS') return messages.wrongCredentials;
  const seconds = headers['Retry-After'];
  if (code === 'THROTTLED' && messages.tooManyAttempts !== undefined && seconds !== undefined)
    return filled(messages.tooManyAttempts, { seconds });
  return message;
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
