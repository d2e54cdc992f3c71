import type { AuthLog, LoginVia } from './auth-log.js';
import type { Revocations } from './sessions/revocations.js';
import type { OpenedSession, Opening, SessionOpener } from './sessions/session-opener.js';
import { clockSkew } from './sessions/tokens.js';
import type { KnownUsers } from './strategies/known-users.js';
import type { Authenticated, StrategyRegistry } from './strategies/registry.js';

/*
 * Opens the session of a user whom a provider or the app has authenticated. A login with a password
 * compares the state of the user before and after the check (`verify-login.ts`). Here, the name of
 * the user is known only afterwards. So a sign-out everywhere after the login began rejects it.
 */

interface SignInDeps {
  registry: Pick<StrategyRegistry, 'get'>;
  users: Pick<KnownUsers, 'stateOf'>;
  revocations: Pick<Revocations, 'lastSignOut'>;
  opener: Pick<SessionOpener, 'open'>;
  log: Pick<AuthLog, 'success'>;
}

/** How and when a user signed in. */
interface HowSignedIn {
  via: LoginVia;
  /** When the login began; Unix milliseconds. */
  beganAt: number;
}

/**
 * Opens a session and ends those that the request carried. Resolves to `undefined` if the user was
 * signed out everywhere after the login began. Rejects if `find_user` of the strategy fails or does
 * not know the user.
 */
export type SignIn = (
  opening: Opening,
  user: Authenticated,
  how: HowSignedIn,
) => Promise<OpenedSession | undefined>;

/** Makes the function that opens sessions for authenticated users. */
export function createSignIn({ registry, users, revocations, opener, log }: SignInDeps): SignIn {
  return async function signIn(opening, user, { via, beganAt }) {
    const started = performance.now();
    const { strategy, username } = user;
    const authenticatedAt = new Date();
    const lastSignOut = await revocations.lastSignOut(strategy, username);
    // A sign-out is stored with a time that lies ahead by the difference that clocks may have.
    if (lastSignOut - clockSkew * 1000 > beganAt) return undefined;
    const state = await users.stateOf(strategy, username);
    if (registry.get(strategy)?.find_user && !state)
      throw new Error('find_user does not know the user who was authenticated');
    const verified = {
      ...user,
      roles: state?.roles ?? user.roles,
      authenticatedAt,
      version: state?.tag ?? '',
      signOut: lastSignOut >= authenticatedAt.getTime() ? lastSignOut : 0,
    };
    const opened = await opener.open(opening, verified, 1);
    const durationMs = Math.round(performance.now() - started);
    log.success(opening.request, opened.session, { via, durationMs, failures: 0 });
    return opened;
  };
}
