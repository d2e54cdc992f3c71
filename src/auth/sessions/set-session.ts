import type { Context } from 'koa';
import { nameId } from '../throttle/familiar-places.js';
import type { Cookies } from './cookies.js';
import type { Devices } from './device-cookies.js';
import type { OpenedSession } from './session-opener.js';
import type { Tokens } from './tokens.js';

/** The parts that write the cookies of a new session. */
export interface SetSessionDeps {
  cookies: Pick<Cookies, 'session'>;
  devices: Pick<Devices, 'mark'>;
  tokens: Pick<Tokens, 'versionOf' | 'signOutOf'>;
}

/**
 * Sets the cookies of a new session: that of the session, and the one that says that this browser
 * has signed in as the user. `typedName` is the name that the user typed or the provider gave.
 */
export function setSession(
  ctx: Context,
  { session, token }: OpenedSession,
  typedName: string,
  { cookies, devices, tokens }: SetSessionDeps,
): void {
  const { strategy, username, authenticatedAt, expiresAt } = session;
  cookies.session.write(ctx, token, (expiresAt.getTime() - Date.now()) / 1000);
  devices.mark(ctx, {
    ...{ strategy, username, nameId: nameId(typedName) },
    version: tokens.versionOf(session),
    loginAt: authenticatedAt.getTime(),
    signOut: tokens.signOutOf(session),
    sessionEnd: expiresAt.getTime(),
  });
}
