import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import { hasBearer } from '../http/auth-errors.js';
import type { Mount } from '../http/mount.js';
import { isNavigation } from '../http/navigation.js';
import { isSafeMethod } from '../http/same-origin.js';
import type { AuthLog } from './auth-log.js';
import type { Cipher } from './cipher.js';
import type { LoginPages } from './login-pages.js';
import { filled } from './messages.js';
import { signOutAtProxy } from './proxy-sign-out.js';
import type { Providers } from './redirects/providers.js';
import { requestInfo } from './request-info.js';
import type { Cookies } from './sessions/cookies.js';
import type { SessionReader } from './sessions/current-session.js';
import type { Devices } from './sessions/device-cookies.js';
import type { Revocations } from './sessions/revocations.js';
import { endOf, type Session } from './sessions/session.js';

/*
 * A logout ends every session of the request. If the user signed in at a provider or a proxy, the
 * browser continues to `auth/signed-out`, and from there to the provider. A redirect of the form
 * itself would not do: the policy of the page (`form-action 'self'`) makes browsers block it. The
 * address of the provider is in an encrypted cookie, so that it is in no URL and no log.
 */

/** The parts that a logout uses. */
export interface LogoutDeps {
  mount: Mount;
  reader: Pick<SessionReader, 'of' | 'tokensOf' | 'openOf' | 'identityOf'>;
  cookies: Pick<Cookies, 'session' | 'logout'>;
  devices: Pick<Devices, 'signedOut'>;
  revocations: Pick<Revocations, 'end'>;
  providers: Pick<Providers, 'has' | 'leave'>;
  pages: LoginPages;
  cipher: Cipher;
  log: Pick<AuthLog, 'ended'>;
  /** Seconds that a session lasts from its login. */
  tokenExpiry: number;
  /** The strategy at whose provider a login begins without a page. */
  autoStart: string | undefined;
}

/** Seconds that the browser has for continuing to the provider. */
const leaveWithin = 60;

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

/** Ends the sessions of the request. Redirects with the status, or answers a script with 204. */
export async function logOut(ctx: Context, deps: LogoutDeps, status: 302 | 303): Promise<void> {
  const { reader, cookies, devices, revocations, log, tokenExpiry } = deps;
  refuseUnwantedLogout(ctx);
  cookies.session.clear(ctx);
  devices.signedOut(ctx);
  const request = requestInfo(ctx);
  // A request with two valid sessions counts as anonymous. Both sessions end, because each would be
  // valid alone in a copied cookie.
  const ended = await reader.openOf(reader.tokensOf(ctx), request);
  for (const session of ended) {
    await revocations.end(session.id, endOf(session, tokenExpiry));
    log.ended(request, session, session, 'logout');
  }
  // A Bearer token does not prove that a script sent the request: a proxy may have added it.
  const isScript = (hasBearer(ctx) && !isNavigation(ctx)) || ctx.accepts('html', 'json') === 'json';
  const proxy = await signOutAtProxy(ctx, reader, isScript);
  if (ctx.method === 'POST' && isScript) {
    ctx.status = 204;
    return;
  }
  const left = proxy ?? (await providerOf(ctx, ended, deps));
  if (left) cookies.logout.write(ctx, deps.cipher.encrypt(JSON.stringify(left)), leaveWithin);
  // A sign-out must not begin the next login.
  const login = deps.autoStart === undefined ? 'login' : 'login?form';
  ctx.redirect(`${deps.mount.outside(ctx)}/auth/${left ? 'signed-out' : login}`);
  ctx.status = status;
}

/** Returns where the user signs out at the provider; `url` is absent if it has no page for it. */
async function providerOf(
  ctx: Context,
  ended: readonly Session[],
  { providers }: LogoutDeps,
): Promise<{ strategy: string; url: string | undefined } | undefined> {
  const session = ended.find(({ strategy }) => providers.has(strategy));
  return session && { strategy: session.strategy, url: await providers.leave(ctx, session) };
}

/** Shows that the user is signed out, and continues to the provider. */
export function showSignedOut(ctx: Context, deps: LogoutDeps): void {
  const { cookies, cipher, pages, mount } = deps;
  const { messages } = pages;
  const [text] = cookies.logout.read(ctx).flatMap((value) => cipher.decrypt(value) ?? []);
  if (text !== undefined) cookies.logout.clear(ctx);
  const { strategy, url } = JSON.parse(text ?? '{}') as { strategy?: string; url?: string };
  const values = { method: pages.labelOf(strategy ?? '') };
  const done = strategy === undefined ? messages.signedOut : filled(messages.stillSignedIn, values);
  const login = { href: `${mount.outside(ctx)}/auth/login?form`, text: messages.signIn };
  const provider =
    url === undefined ? undefined : { href: url, text: filled(messages.leave, values) };
  pages.notice(ctx, {
    heading: messages.signedOut,
    text: provider ? filled(messages.leaving, values) : done,
    link: provider ?? login,
    isAutomatic: provider !== undefined,
  });
}
