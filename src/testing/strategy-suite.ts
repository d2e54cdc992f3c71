import type {
  AuthContext,
  AuthStrategy,
  FindUserContext,
  KnownUser,
} from '../auth/strategies/strategy.js';
import { type Accepted, readKnownUser, readVerdict } from '../auth/strategies/verdict.js';

/** The user with whom `describeStrategy` tests a strategy. */
export interface StrategyUser {
  /** The canonical name of the user, under which the strategy must open the session. */
  readonly username: string;
  /** The password of the user: at least 8 characters, and no part of the name. */
  readonly password: string;
  /** The roles that the user must get. Default: any. */
  readonly roles?: readonly string[] | undefined;
}

/** What `describeStrategy` needs of a strategy under test. */
export interface StrategyUnderTest {
  readonly strategy: AuthStrategy;
  /** A user who may sign in, and the only one with this password. */
  readonly user: StrategyUser;
  /** Removes the user. The strategy must notice it within 60 seconds. */
  removeUser?(): PromiseLike<void> | void;
  /** Makes the source of the strategy fail, as if its server were down. */
  fail?(): PromiseLike<void> | void;
  /** Called after the test, also if it failed. */
  cleanUp?(): PromiseLike<void> | void;
}

/** What a test works with: the strategy under test, and its methods with checked answers. */
export interface StrategyCase extends Omit<StrategyUnderTest, 'cleanUp'> {
  /**
   * Resolves to the user whom `authenticate_user` accepts, or to `undefined` if it rejects the
   * credentials. Rejects if it throws or returns no valid verdict.
   */
  signIn(username: string, password: string, signal?: AbortSignal): Promise<Accepted | undefined>;
  /** Resolves to the checked answer of `find_user`. */
  find(username: string, only?: FindUserContext['only']): Promise<KnownUser | undefined>;
}

/** Declares a test of a strategy. Each test gets a strategy of its own. */
export type DeclareStrategyTest = (
  behaviour: string,
  body: (under: StrategyCase) => Promise<void>,
) => void;

/**
 * Adds the methods with checked answers to a strategy under test.
 *
 * @throws TypeError if the password of the user is too short for the tests.
 */
export function caseOf(under: StrategyUnderTest): StrategyCase {
  const { strategy, user } = under;
  if (user.password.length < 8 || user.username.includes(user.password))
    throw new TypeError(
      'user.password must have at least 8 characters and be no part of user.username, because ' +
        'the tests search texts for it',
    );
  return {
    ...under,
    async signIn(username, password, signal = new AbortController().signal) {
      const context: AuthContext = { signal, ip: '127.0.0.1', requestId: 'test' };
      const verdict = await strategy.authenticate_user(username, password, context);
      const { user, reason } = readVerdict(verdict, username);
      if (reason === 'other' && (verdict as { reason?: unknown }).reason !== 'other')
        throw new TypeError('the reason of a verdict must be 1 to 32 lower-case letters and _');
      return user;
    },
    async find(username, only) {
      const context = { signal: new AbortController().signal, only };
      return readKnownUser(await strategy.find_user?.(username, context));
    },
  };
}

/** Resolves to the answer of a call, or to the error with which it fails. */
export async function outcomeOf<T>(asked: Promise<T>): Promise<{ answer?: T; error?: unknown }> {
  try {
    return { answer: await asked };
  } catch (error) {
    return { error };
  }
}
