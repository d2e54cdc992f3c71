import { createHash, timingSafeEqual } from 'node:crypto';
import {
  knownUser,
  readUser,
  type UserOptions,
  verdictOf,
  withWarnings,
} from './configured-user.js';
import type { AuthStrategy, Verdict } from './strategy.js';

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/**
 * Makes a strategy for one user. It always compares both the name and the password, in constant
 * time.
 *
 * @throws TypeError if the password is `undefined` ("password of 'admin' is not set") or not a
 * string.
 */
export function staticUser(
  username: string,
  password: string | undefined,
  options?: UserOptions,
): AuthStrategy {
  const user = readUser([username, password, options], 'user');
  const expectedName = digest(username);

  return withWarnings(new Map([[username, user]]), {
    local: true,
    async authenticate_user(givenName, givenPassword, context): Promise<Verdict> {
      const sameName = timingSafeEqual(digest(givenName), expectedName);
      const samePassword = await user.password.matches(givenPassword, { context });
      return sameName && samePassword ? verdictOf(user) : false;
    },
    find_user: (givenName) => knownUser(givenName === username ? user : undefined),
  });
}
