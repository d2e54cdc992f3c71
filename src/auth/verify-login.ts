import type { Role } from '../http/access.js';
import { type Revocations, sameUser } from './sessions/revocations.js';
import type { KnownUsers, UserState } from './strategies/known-users.js';
import type { AttemptContext, Authenticated, StrategyRegistry } from './strategies/registry.js';

/*
 * While a password is being checked, the user may change: the password, the roles, or, by a
 * sign-out everywhere, the right to any session. So the time of a login and the state of its user
 * are read before the strategy is asked, and read again after it. A login whose user changed in
 * between is rejected.
 *
 * The typed name may differ from the name of the user. If the strategy accepts a user whose state
 * was not read before, it is asked a second time, after the state of that user was read.
 */

/** A login that was checked. */
export interface Verified extends Authenticated {
  /** The time before the strategy was asked. */
  authenticatedAt: Date;
  /** The claim `sv`; empty if the strategy has no `find_user`. */
  version: string;
  /**
   * The sign-out everywhere that this login follows, if the clock alone cannot show it; otherwise
   * 0.
   */
  signOut: number;
}

/** The typed credentials, and the strategy that is asked. */
interface Credentials {
  username: string;
  password: string;
  strategy: string;
}

interface VerifyContext extends AttemptContext {
  onError(strategy: string, error: unknown, durationMs: number): void;
  /** Called when the login is rejected because the user changed during the check. */
  onChanged(): void;
}

/** What must be the same before and after a check. */
interface Moment {
  user: UserState | undefined;
  lastSignOut: number;
}

/** What answers the questions of a check. */
export interface VerifyDeps {
  registry: Pick<StrategyRegistry, 'get' | 'authenticate'>;
  users: Pick<KnownUsers, 'stateOf'>;
  revocations: Pick<Revocations, 'lastSignOut'>;
}

/** An error of one strategy. It must affect neither the other strategies nor the response. */
class StrategyFault extends Error {}

/**
 * Resolves to the user whom one strategy accepts, or to `undefined`. Rejects only if the store or
 * the hash queue cannot answer.
 */
export async function verifyLogin(
  deps: VerifyDeps,
  credentials: Credentials,
  context: VerifyContext,
): Promise<Verified | undefined> {
  const { strategy } = credentials;
  const started = performance.now();
  if (!deps.registry.get(strategy)) return undefined;
  try {
    return await verify(deps, credentials, context);
  } catch (error) {
    if (!(error instanceof StrategyFault)) throw error;
    context.onError(strategy, error.cause, Math.round(performance.now() - started));
    return undefined;
  }
}

async function verify(
  deps: VerifyDeps,
  credentials: Credentials,
  context: VerifyContext,
): Promise<Verified | undefined> {
  const { registry } = deps;
  const { strategy, username } = credentials;
  let at = Date.now();
  let before = await momentOf(deps, strategy, username);
  for (let asked = 1; asked <= 2; asked += 1) {
    const found = await registry.authenticate(credentials, context);
    if (!found) return undefined;
    const after = await momentOf(deps, strategy, found.username);
    if (registry.get(strategy)?.find_user && !after.user)
      throw new StrategyFault('', {
        cause: new Error('find_user does not know the user that authenticate_user accepted'),
      });
    const sameSignOut = signOutAt(before, at) === signOutAt(after, at);
    if (sameSignOut && before.user?.version === after.user?.version)
      return verified(found, after.user, { at, signOut: signOutAt(after, at), context });
    // If the names are equal, the user has changed. Otherwise it is another user, whose state was
    // not read before.
    const signedOut = !sameSignOut && sameUser(username) === sameUser(found.username);
    const changed =
      username === found.username &&
      before.user !== undefined &&
      before.user.version !== after.user?.version;
    if (signedOut || changed) break;
    at = Date.now();
    before = after;
  }
  context.onChanged();
  return undefined;
}

async function momentOf(
  { users, revocations }: VerifyDeps,
  strategy: string,
  username: string,
): Promise<Moment> {
  const lastSignOut = await revocations.lastSignOut(strategy, username);
  const user = await users.stateOf(strategy, username).catch((cause: unknown) => {
    throw new StrategyFault('', { cause });
  });
  return { lastSignOut, user };
}

/**
 * Returns the sign-out everywhere whose cut-off covers a login of that time; 0 if the last cut-off
 * is earlier.
 */
function signOutAt({ lastSignOut }: Moment, at: number): number {
  return lastSignOut >= at ? lastSignOut : 0;
}

interface Checked {
  at: number;
  signOut: number;
  context: VerifyContext;
}

/** Roles of `find_user` take precedence: they are those that every later request is checked by. */
function verified(
  found: Authenticated,
  user: UserState | undefined,
  { at, signOut, context }: Checked,
): Verified {
  const roles = user?.roles ?? found.roles;
  if (!sameRoles(roles, found.roles)) {
    const error = new Error(
      'authenticate_user and find_user disagree about the roles of the user; those of ' +
        'find_user are used',
    );
    context.onError(found.strategy, error, 0);
  }
  return { ...found, roles, authenticatedAt: new Date(at), version: user?.tag ?? '', signOut };
}

function sameRoles(some: readonly Role[], others: readonly Role[]): boolean {
  return new Set(some).size === new Set(others).size && some.every((role) => others.includes(role));
}
