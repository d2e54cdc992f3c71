import { createHash, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../secrets/secret.js';
import {
  type EntryNames,
  knownUser,
  readUser,
  type UserOptions,
  verdictOf,
  withUsers,
} from './configured-user.js';
import type { AuthStrategy, Verdict } from './strategy.js';

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/**
 * Makes a strategy for one user. It always compares both the name and the password, in constant
 * time. If the password is a file or a function, a changed password takes effect without a restart
 * and ends the sessions of the user.
 *
 * @throws TypeError if the password is `undefined`, is neither a string, a file nor a function, or
 * its file cannot be read.
 * @example
 * ```ts
 * staticUser('admin', secretFile('/run/secrets/admin-password'));
 * ```
 */
export function staticUser(
  username: string,
  password: Secret | undefined,
  options?: UserOptions,
): AuthStrategy {
  return userOf([username, password, options], {
    where: 'staticUser',
    username: 'staticUser: username',
    options: 'staticUser: options',
  });
}

/** Makes the strategy of {@link staticUser} from an entry with these names. */
export function userOf(
  entry: readonly [username: string, ...unknown[]],
  names: EntryNames,
): AuthStrategy {
  const [username] = entry;
  const user = readUser(entry, names);
  const expectedName = digest(username);

  return withUsers(new Map([[username, user]]), {
    local: true,
    async authenticate_user(givenName, givenPassword, context): Promise<Verdict> {
      const sameName = timingSafeEqual(digest(givenName), expectedName);
      const password = await user.password.get();
      const samePassword = await password.matches(givenPassword, { context });
      return sameName && samePassword ? verdictOf(user) : false;
    },
    find_user: (givenName) => knownUser(givenName === username ? user : undefined),
  });
}
