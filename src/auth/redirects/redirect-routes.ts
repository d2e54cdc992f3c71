import type { Context } from 'koa';
import { TaskflowError } from '../../errors.js';
import { LogLimit } from '../log-limit.js';
import { isSafeNext } from '../next.js';
import { endedSchema, inQuery, type LoginRoute } from '../openapi.js';
import { requestInfo } from '../request-info.js';
import type { SessionReader } from '../sessions/current-session.js';
import type { Attempts } from './attempts.js';
import { type CallbackDeps, callback, sessionOf } from './callback.js';
import { type EndedDeps, endedSessions } from './ended-sessions.js';
import { Outages } from './outages.js';
import type { Providers } from './providers.js';
import { goOn, unavailable } from './redirect-pages.js';

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
export interface RedirectDeps extends Omit<CallbackDeps, 'outages' | 'lines'>, EndedDeps {
  reader: Pick<SessionReader, 'of' | 'openOf' | 'replace' | 'tokensOf'>;
  providers: Providers;
  attempts: Attempts;
  throttle: CallbackDeps['throttle'];
  log: CallbackDeps['log'] & EndedDeps['log'];
  adviseOnProxy: (ctx: Context) => void;
  /**
   * Rejects if there are no secret keys yet, or if the store belongs to another app. Returns
   * `undefined` if the login can be used.
   */
  usable: () => Promise<void> | undefined;
}

/** The parts with those that the routes share. */
type SharedDeps = RedirectDeps & Pick<CallbackDeps, 'outages' | 'lines'>;

const atProvider = {
  requiredRole: 'public',
  head: false,
} as const;

/** Returns the rows of the routes that providers and their users open. */
export function redirectRoutes(given: RedirectDeps): LoginRoute[] {
  const deps: SharedDeps = { ...given, outages: new Outages(), lines: new LogLimit() };
  const handled =
    (handle: (ctx: Context, strategy: string, deps: SharedDeps) => Promise<void>) =>
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

async function start(ctx: Context, strategy: string, deps: SharedDeps): Promise<void> {
  const { attempts, providers, reader, log, lines } = deps;
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
    if (lines.isDue(`${strategy} start`))
      log.strategyError(requestInfo(ctx), strategy, error, 0, []);
    return unavailable(ctx, attempt, deps);
  }
  ctx.redirect(url);
}
