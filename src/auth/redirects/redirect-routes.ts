import type { Context } from 'koa';
import { TaskflowError } from '../../errors.js';
import type { Role } from '../../http/access.js';
import type { Mount } from '../../http/mount.js';
import type { AuthLog } from '../auth-log.js';
import { logThrottled } from '../authenticate.js';
import type { LoginPages } from '../login-pages.js';
import { filled, type Messages } from '../messages.js';
import { isSafeNext } from '../next.js';
import { endedSchema, inQuery, type LoginRoute } from '../openapi.js';
import { requestInfo } from '../request-info.js';
import type { Cookies } from '../sessions/cookies.js';
import type { SessionReader } from '../sessions/current-session.js';
import type { Devices } from '../sessions/device-cookies.js';
import type { Session } from '../sessions/session.js';
import type { OpenedSession } from '../sessions/session-opener.js';
import { type SetSessionDeps, setSession } from '../sessions/set-session.js';
import type { SignIn } from '../sign-in.js';
import type { Health } from '../strategies/health.js';
import type { RejectedPage } from '../strategies/strategy.js';
import { type CheckedVerdict, readVerdict } from '../strategies/verdict.js';
import type { Throttle } from '../throttle/throttle.js';
import type { Attempt, Attempts } from './attempts.js';
import { type EndedDeps, endedSessions } from './ended-sessions.js';
import type { Providers } from './providers.js';

/*
 * A sign-in at a provider takes these steps:
 *
 * 1. `auth/start/:strategy` creates an attempt, asks the strategy for the URL of the provider
 *    (`begin`), keeps the attempt in the browser, and redirects to the provider.
 * 2. The provider redirects back to `auth/callback/:strategy`. The attempt of the browser must have
 *    the same `state`, and is used once.
 * 3. The strategy checks the callback (`complete`), and `signIn` opens the session.
 *
 * The provider may later say that sessions have ended: `auth/ended/:strategy`.
 */

/** The parts that the routes of providers use. */
export interface RedirectDeps extends SetSessionDeps, EndedDeps {
  mount: Mount;
  cookies: Cookies;
  devices: Pick<Devices, 'mark' | 'read'>;
  reader: Pick<SessionReader, 'of' | 'openOf' | 'replace' | 'tokensOf'>;
  providers: Providers;
  attempts: Attempts;
  pages: LoginPages;
  health: Pick<Health, 'answered'>;
  signIn: SignIn;
  throttle: Pick<Throttle, 'malformed' | 'callback'>;
  adviseOnProxy: (ctx: Context) => void;
  log: Pick<AuthLog, 'fail' | 'throttled' | 'strategyError' | 'endedBy'>;
  /** Path to which a login redirects if no page was requested. */
  home: string;
  /** Whether browsers send the session cookie only to requests of this site. */
  isStrict: boolean;
  /**
   * Rejects if there are no secret keys yet, or if the store belongs to another app. Returns
   * `undefined` if the login can be used.
   */
  usable: () => Promise<void> | undefined;
}

const atProvider = {
  requiredRole: 'public',
  head: false,
} as const;

/** Returns the rows of the routes that providers and their users open. */
export function redirectRoutes(deps: RedirectDeps): LoginRoute[] {
  const handled =
    (handle: (ctx: Context, strategy: string, deps: RedirectDeps) => Promise<void>) =>
    async (ctx: Context, { params }: { params: Readonly<Record<string, string>> }) => {
      const { strategy = '' } = params;
      if (!deps.providers.has(strategy))
        throw new TaskflowError('NOT_FOUND', 'There is no such way to sign in.');
      await deps.usable();
      await handle(ctx, strategy, deps);
    };
  const unknown = 'There is no such strategy';
  return [
    {
      ...atProvider,
      method: 'GET',
      path: '/auth/start/:strategy',
      errors: 'page',
      handler: handled(start),
      operation: {
        id: 'startSignIn',
        summary: 'Redirects to the provider of a strategy',
        query: [
          inQuery('next', 'The path to redirect to after the login'),
          inQuery('keep', 'Keeps the session of a signed-in user and redirects to `next`'),
        ],
        answers: { 200: 'A page that continues here', 302: 'The provider or `next`' },
        errors: { 404: unknown, 503: 'The provider does not answer' },
      },
    },
    {
      ...atProvider,
      method: 'GET',
      path: '/auth/callback/:strategy',
      errors: 'page',
      handler: handled(callback),
      operation: {
        id: 'completeSignIn',
        summary: 'The address to which a provider sends the browser back',
        query: [
          inQuery('state', 'The text that the redirect to the provider contained'),
          inQuery('code', 'The code of the provider'),
        ],
        answers: { 303: 'The session cookie and the redirect' },
        errors: {
          400: 'The browser has no such attempt',
          401: 'The provider rejected the user',
          403: 'The account is not allowed here',
          404: unknown,
          429: 'Too many attempts; see Retry-After',
          503: 'The provider or the store does not answer',
        },
      },
    },
    {
      ...atProvider,
      method: 'POST',
      path: '/auth/ended/:strategy',
      takesBody: true,
      handler: handled(endedSessions(deps)),
      operation: {
        id: 'endSessionsByProvider',
        summary: 'Ends the sessions that a provider names (back-channel logout)',
        body: endedSchema,
        bodyTypes: ['form'],
        answers: { 200: 'The sessions have ended' },
        errors: {
          400: 'The message is not valid',
          404: unknown,
          413: 'The body is larger than 16 KiB',
          415: 'The body is not a form',
          429: 'Too many messages that are not valid',
          503: 'Too many messages wait, or the keys of the provider or the store cannot be read',
        },
      },
    },
  ];
}

async function start(ctx: Context, strategy: string, deps: RedirectDeps): Promise<void> {
  const { attempts, providers, reader, log } = deps;
  deps.adviseOnProxy(ctx);
  const next = isSafeNext(ctx.query.next) ? ctx.query.next : undefined;
  const site = ctx.get('Sec-Fetch-Site');
  const isForeign = site !== '' && site !== 'same-origin' && site !== 'none';
  // A link on another site must not replace the session of a user.
  if ((isForeign || ctx.query.keep !== undefined) && (await sessionOf(ctx, deps)))
    return ctx.redirect(next ?? deps.mount.base(ctx) + deps.home);
  // Such a link sends no Strict cookie, so a page of this site repeats the request.
  if (isForeign && deps.isStrict) {
    const query = new URLSearchParams({ keep: '', ...(next !== undefined && { next }) });
    return goOn(ctx, `${deps.mount.outside(ctx)}/auth/start/${strategy}?${query}`, deps);
  }
  const replaces = await reader.openOf(reader.tokensOf(ctx), requestInfo(ctx));
  const attempt = attempts.create(strategy, next, replaces);
  const url = await providers.begin(ctx, attempt);
  if (url === undefined) return unavailable(ctx, attempt, deps);
  try {
    attempts.keep(ctx, attempt);
  } catch (error) {
    log.strategyError(requestInfo(ctx), strategy, error, 0, []);
    return unavailable(ctx, attempt, deps);
  }
  ctx.redirect(url);
}

/** Returns the session of a request. If the strategy does not answer, returns no session. */
async function sessionOf(
  ctx: Context,
  { reader }: Pick<RedirectDeps, 'reader'>,
): Promise<Session | undefined> {
  try {
    return await reader.of(ctx);
  } catch {
    return undefined;
  }
}

function unavailable(ctx: Context, attempt: Attempt, { pages }: RedirectDeps): void {
  const { messages, labelOf } = pages;
  const { strategy, next } = attempt;
  ctx.status = 503;
  pages.login(ctx, { next, message: filled(messages.unavailable, { method: labelOf(strategy) }) });
}

/** The roles of a user whose provider gives none: the user may only read. */
const noRoles: readonly Role[] = [];

async function callback(ctx: Context, strategy: string, deps: RedirectDeps): Promise<void> {
  const { attempts, devices, throttle, log } = deps;
  const { state } = ctx.query;
  const attempt = typeof state === 'string' ? attempts.take(ctx, strategy, state) : undefined;
  if (!attempt) return withoutAttempt(ctx, deps);
  const request = requestInfo(ctx);
  // A stranger in the same network must not block a browser that has signed in before.
  const from = devices.read(ctx)?.id ?? request.ip;
  const counted = await throttle.callback(from, logThrottled(log, request, undefined));
  let isRejected = false;
  try {
    isRejected = !(await complete(ctx, attempt, deps));
  } finally {
    await (isRejected ? counted.failed() : counted.withdrawn());
  }
}

/**
 * Answers the callback of an attempt. Resolves to `false` if the provider or the attempt did not
 * prove a user, so that the callback counts.
 */
async function complete(ctx: Context, attempt: Attempt, deps: RedirectDeps): Promise<boolean> {
  const { attempts, providers } = deps;
  const { strategy } = attempt;
  if (!(await attempts.use(attempt))) {
    await withoutAttempt(ctx, deps);
    return false;
  }
  const answer = await providers.complete(ctx, attempt);
  let checked: CheckedVerdict | undefined;
  try {
    checked = answer && readVerdict(answer.verdict, undefined, noRoles);
  } catch (error) {
    deps.log.strategyError(requestInfo(ctx), strategy, error, 0, []);
  }
  if (!checked) {
    logFailure(ctx, 'strategy_error', undefined, deps);
    unavailable(ctx, attempt, deps);
    return true;
  }
  // A wrong callback is refused without a request to the provider.
  if (checked.reason !== 'provider')
    deps.health.answered(strategy, checked.user ? 'login' : 'rejected');
  if (checked.user) await open(ctx, attempt, checked.user, deps);
  else await rejected(ctx, attempt, checked, deps);
  return checked.user !== undefined;
}

/** Opens the session of a user whom the provider has authenticated. */
async function open(
  ctx: Context,
  attempt: Attempt,
  user: NonNullable<CheckedVerdict['user']>,
  deps: RedirectDeps,
): Promise<void> {
  const { cookies, reader, signIn, mount, home, isStrict, log } = deps;
  const { strategy, sessionId, beganAt, replaces } = attempt;
  const opening = {
    request: requestInfo(ctx),
    tokens: reader.tokensOf(ctx),
    cookieName: cookies.session.nameFor(ctx),
    ...{ sessionId, replaces },
  };
  let opened: OpenedSession | undefined;
  try {
    opened = await signIn(opening, { ...user, strategy }, { via: 'redirect', beganAt });
  } catch (error) {
    // A TaskflowError says what is wrong. The strategy has caused any other error.
    if (error instanceof TaskflowError) throw error;
    log.strategyError(opening.request, strategy, error, 0, []);
    logFailure(ctx, 'strategy_error', user.username, deps);
    return unavailable(ctx, attempt, deps);
  }
  if (!opened) return rejected(ctx, attempt, { user: undefined, reason: 'user_changed' }, deps);
  reader.replace(ctx, opened.session);
  setSession(ctx, opened, user.username, deps);
  const target = attempt.next ?? mount.base(ctx) + home;
  if (!isStrict) {
    ctx.redirect(target);
    ctx.status = 303;
    return;
  }
  // Browsers do not send a Strict cookie along a redirect that began at the provider. A navigation
  // that begins at a page of this site sends it.
  goOn(ctx, target, deps);
}

/** Sends a page from which the browser continues. */
function goOn(ctx: Context, href: string, { pages }: Pick<RedirectDeps, 'pages'>): void {
  const { goOn: text } = pages.messages;
  pages.notice(ctx, { heading: text, text: undefined, link: { href, text }, isAutomatic: true });
}

/** Answers a callback whose attempt the browser does not have, or that was used before. */
async function withoutAttempt(ctx: Context, deps: RedirectDeps): Promise<void> {
  const { pages, mount, home, throttle, log } = deps;
  if (await sessionOf(ctx, deps)) {
    ctx.redirect(mount.base(ctx) + home);
    ctx.status = 303;
    return;
  }
  // Other sites can make browsers send such callbacks. They have their own limit, which does not
  // affect logins.
  const { ip } = requestInfo(ctx);
  await throttle.malformed(ip, logThrottled(log, requestInfo(ctx), undefined), 'callback');
  logFailure(ctx, 'no_attempt', undefined, deps);
  ctx.status = 400;
  pages.login(ctx, { message: pages.messages.noAttempt });
}

/** The texts that a strategy may ask for when it rejects a user. */
const texts = {
  no_role: 'noRole',
  no_name: 'noName',
  too_many_groups: 'tooManyGroups',
  name_taken: 'nameTaken',
  unavailable: 'unavailable',
} as const satisfies Record<RejectedPage, keyof Messages>;

async function rejected(
  ctx: Context,
  attempt: Attempt,
  { reason = 'bad_credentials', page, username }: CheckedVerdict,
  deps: RedirectDeps,
): Promise<void> {
  const { pages, providers } = deps;
  const { strategy, sessionId, next } = attempt;
  logFailure(ctx, reason, username, deps);
  if (page === 'unavailable') return unavailable(ctx, attempt, deps);
  const method = pages.labelOf(strategy);
  const message = pages.messages[page === undefined ? 'rejected' : texts[page]];
  ctx.status = page === undefined ? 401 : 403;
  const leave =
    page === undefined
      ? undefined
      : await providers.leave(ctx, { id: sessionId, username: username ?? '', strategy });
  pages.login(ctx, {
    next,
    message: filled(message, { method, user: username ?? '?' }),
    link:
      leave === undefined
        ? undefined
        : { href: leave, text: filled(pages.messages.leave, { method }) },
  });
}

function logFailure(
  ctx: Context,
  reason: string,
  username: string | undefined,
  { log }: Pick<RedirectDeps, 'log'>,
): void {
  log.fail(requestInfo(ctx), reason, username, 1);
}
