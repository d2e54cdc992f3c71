import type { Context } from 'koa';
import { TaskflowError } from '../../errors.js';
import { networkOf } from '../../http/client-address.js';
import type { Mount } from '../../http/mount.js';
import type { AuthLog } from '../auth-log.js';
import { logThrottled } from '../authenticate.js';
import type { LogLimit } from '../log-limit.js';
import { filled, type Messages } from '../messages.js';
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
import type { CheckedVerdict } from '../strategies/verdict.js';
import type { Throttle } from '../throttle/throttle.js';
import type { Attempt, Attempts } from './attempts.js';
import type { Outages } from './outages.js';
import type { Providers } from './providers.js';
import { goOn, type RedirectPagesDeps, unavailable } from './redirect-pages.js';

/** The parts that answer a callback of a provider. */
export interface CallbackDeps extends SetSessionDeps, RedirectPagesDeps {
  mount: Mount;
  cookies: Cookies;
  devices: Pick<Devices, 'mark' | 'read'>;
  reader: Pick<SessionReader, 'of' | 'replace' | 'tokensOf'>;
  providers: Pick<Providers, 'complete' | 'leave'>;
  attempts: Pick<Attempts, 'take' | 'use'>;
  health: Pick<Health, 'answered'>;
  signIn: SignIn;
  throttle: Pick<Throttle, 'malformed' | 'callback'>;
  outages: Outages;
  log: Pick<AuthLog, 'fail' | 'throttled' | 'strategyError'>;
  /** Limits the lines about strategies that fail. */
  lines: LogLimit;
  /** Path to which a login redirects if no page was requested. */
  home: string;
  /** Whether browsers send the session cookie only to requests of this site. */
  isStrict: boolean;
}

/** Answers the callback of a provider. */
export async function callback(ctx: Context, strategy: string, deps: CallbackDeps): Promise<void> {
  const { attempts, devices, throttle, log } = deps;
  const { state } = ctx.query;
  const attempt = typeof state === 'string' ? attempts.take(ctx, strategy, state) : undefined;
  if (!attempt) return withoutAttempt(ctx, deps);
  const request = requestInfo(ctx);
  // A stranger in the same network must not block a browser that has signed in before.
  const client = devices.read(ctx)?.id ?? networkOf(request.ip);
  const counted = await throttle.callback(client, logThrottled(log, request, undefined));
  let isRejected = false;
  try {
    isRejected = !(await complete(ctx, attempt, client, deps));
  } finally {
    await (isRejected ? counted.failed() : counted.withdrawn());
  }
}

/**
 * Answers the callback of an attempt. Resolves to `false` if the provider or the attempt did not
 * prove a user, so that the callback counts.
 */
async function complete(
  ctx: Context,
  attempt: Attempt,
  client: string,
  deps: CallbackDeps,
): Promise<boolean> {
  const { attempts, providers, outages, health } = deps;
  const { strategy } = attempt;
  if (!outages.mayAsk(strategy, client)) {
    unavailable(ctx, attempt, deps);
    return true;
  }
  if (!(await attempts.use(attempt))) {
    await withoutAttempt(ctx, deps);
    return false;
  }
  const checked = await providers.complete(ctx, attempt);
  if (!checked) {
    outages.failed(strategy, client);
    logOutage(ctx, strategy, undefined, deps);
    unavailable(ctx, attempt, deps);
    return true;
  }
  // A wrong callback is refused without a request to the provider.
  if (checked.reason !== 'provider') {
    outages.answered(strategy, client);
    health.answered(strategy, checked.user ? 'login' : 'rejected');
  }
  if (checked.user) await open(ctx, attempt, checked.user, deps);
  else await rejected(ctx, attempt, checked, deps);
  return checked.user !== undefined;
}

/** Opens the session of a user whom the provider has authenticated. */
async function open(
  ctx: Context,
  attempt: Attempt,
  user: NonNullable<CheckedVerdict['user']>,
  deps: CallbackDeps,
): Promise<void> {
  const { cookies, reader, signIn, mount, home, isStrict, log, lines } = deps;
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
    if (lines.isDue(`${strategy} signIn`))
      log.strategyError(opening.request, strategy, error, 0, []);
    logOutage(ctx, strategy, user.username, deps);
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

/** Returns the session of a request. If the strategy does not answer, returns no session. */
export async function sessionOf(
  ctx: Context,
  { reader }: Pick<CallbackDeps, 'reader'>,
): Promise<Session | undefined> {
  try {
    return await reader.of(ctx);
  } catch {
    return undefined;
  }
}

/** Answers a callback whose attempt the browser does not have, or that was used before. */
async function withoutAttempt(ctx: Context, deps: CallbackDeps): Promise<void> {
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
  deps: CallbackDeps,
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

/**
 * Logs a sign-in that failed although the user was not rejected. While a provider or a strategy
 * does not answer, one line a minute is enough for a user, and for all strangers together.
 */
function logOutage(
  ctx: Context,
  strategy: string,
  username: string | undefined,
  deps: Pick<CallbackDeps, 'log' | 'lines'>,
): void {
  if (deps.lines.isDue(`${strategy} callback ${username ?? ''}`))
    logFailure(ctx, 'strategy_error', username, deps);
}

function logFailure(
  ctx: Context,
  reason: string,
  username: string | undefined,
  { log }: Pick<CallbackDeps, 'log'>,
): void {
  log.fail(requestInfo(ctx), reason, username, 1);
}
