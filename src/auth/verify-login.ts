import { type Revocations, sameUser } from './sessions/revocations.js';
import type { KnownUsers, UserState, UserVersion } from './strategies/known-users.js';
import type { AttemptContext, Authenticated, StrategyRegistry } from './strategies/registry.js';
import { isPasswordStrategy } from './strategies/strategy.js';
import { sameRoles } from './strategies/user-fields.js';

/*
 * While a password is being checked, the user may change: the password or the roles may change, or
 * a sign-out everywhere may end all sessions. So the state of the user is read before and after the
 * check. A login whose user changed in between is rejected. Before the check, only the version is
 * read: strategies may need further requests for the roles of a known user, and the time of a
 * failed login must not reveal that the user exists.
 *
 * The typed name may differ from the name of the user. If the strategy accepts a user whose state
 * was not read before, that state is read now, and the strategy is asked a second time.
 */

/** The result of a successful check. */
export interface Verified extends Authenticated {
  /** When the check began, before the strategy was asked. */
  authenticatedAt: Date;
  /** The claim `sv`; empty if the strategy has no `find_user`. */
  version: string;
  /**
   * The sign-out everywhere that this login follows, if their times alone cannot show the order;
   * otherwise 0.
   */
  signOut: number;
}

/** The typed credentials and the strategy to ask. */
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

/** The state that must be the same before and after a check. */
interface Moment<User extends UserVersion = UserVersion> {
  user: User | undefined;
  lastSignOut: number;
}

/** The parts that a check uses. */
export interface VerifyDeps {
  registry: Pick<StrategyRegistry, 'get' | 'authenticate'>;
  users: Pick<KnownUsers, 'stateOf' | 'versionOf'>;
  revocations: Pick<Revocations, 'lastSignOut'>;
}

/**
 * Wraps an error of one strategy, which must affect neither the other strategies nor the response.
 */
class StrategyFault extends Error {}

/**
 * Resolves to the user that the strategy accepts, or to `undefined`. Rejects only if the store or
 * the hash queue cannot answer.
 */
export async function verifyLogin(
  deps: VerifyDeps,
  credentials: Credentials,
  context: VerifyContext,
): Promise<Verified | undefined> {
  const { strategy } = credentials;
  const started = performance.now();
  // A stranger must not cause calls of `find_user` of strategies that check no passwords.
  if (!isPasswordStrategy(deps.registry.get(strategy))) return undefined;
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
  const { users } = deps;
  let before: Moment = await momentOf(deps, users.versionOf, { strategy, username });
  for (let asked = 1; asked <= 2; asked += 1) {
    const found = await registry.authenticate(credentials, context);
    if (!found) return undefined;
    const after = await momentOf(deps, users.stateOf, found);
    if (registry.get(strategy)?.find_user && !after.user)
      throw new StrategyFault('', {
        cause: new Error('find_user does not know the user that authenticate_user accepted'),
      });
    const sameSignOut = signOutAt(before, at) === signOutAt(after, at);
    if (sameSignOut && before.user?.version === after.user?.version)
      return verified(found, after.user, { at, signOut: signOutAt(after, at), context });
    // If the names are equal, the user has changed. Otherwise, the strategy accepted another user,
    // whose state was not read before.
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

async function momentOf<User extends UserVersion>(
  { revocations }: VerifyDeps,
  find: (strategy: string, username: string) => Promise<User | undefined>,
  { strategy, username }: Pick<Credentials, 'strategy' | 'username'>,
): Promise<Moment<User>> {
  const lastSignOut = await revocations.lastSignOut(strategy, username);
  const user = await find(strategy, username).catch((cause: unknown) => {
    throw new StrategyFault('', { cause });
  });
  return { lastSignOut, user };
}

/** Returns the last sign-out everywhere if its cut-off covers a login at that time; otherwise 0. */
function signOutAt({ lastSignOut }: Moment, at: number): number {
  return lastSignOut >= at ? lastSignOut : 0;
}

interface Checked {
  at: number;
  signOut: number;
  context: VerifyContext;
}

/**
 * Returns the checked login. Roles of `find_user` take precedence, because later requests are
 * checked with them.
 */
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
