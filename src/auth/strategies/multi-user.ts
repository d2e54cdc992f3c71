import { rangeError } from '../../options.js';
import { wrongSecretType } from '../../secret-options.js';
import { paddedChecks } from '../passwords/padding.js';
import {
  knownUser,
  readUser,
  type User,
  type UserEntry,
  verdictOf,
  withWarnings,
} from './configured-user.js';
import type { AuthStrategy, Verdict } from './strategy.js';

/**
 * Makes a strategy for several users. Plain passwords are hashed in the background. An unknown name
 * takes the same work as a wrong password.
 *
 * @throws TypeError if the list is empty, or an entry is not a name, a password and options.
 * RangeError if a name is given twice.
 */
export function multiUser(entries: readonly UserEntry[]): AuthStrategy {
  return usersOf(entries, 'users');
}

/** Makes the strategy of {@link multiUser} from an option of that name. */
export function usersOf(entries: readonly UserEntry[], option: string): AuthStrategy {
  if (!Array.isArray(entries) || entries.length === 0)
    throw wrongSecretType(
      option,
      entries,
      "a list such as [['alice', password]], with at least one user",
    );
  const users = new Map<string, User>();
  for (const [index, entry] of (entries as readonly UserEntry[]).entries()) {
    const user = readUser(entry, `${option}[${index}]`);
    if (users.has(entry[0])) throw rangeError(`user '${entry[0]}' is given twice`);
    users.set(entry[0], user);
  }
  const passwords = [...users.values()].map(({ password }) => password);
  const checks = paddedChecks(passwords);
  // An unknown name is checked against the costliest hash. The attempt is rejected whatever the
  // result is.
  const costliest = passwords.reduce((one, other) => (other.cost > one.cost ? other : one));

  return withWarnings(users, {
    local: true,
    async authenticate_user(username, password, context): Promise<Verdict> {
      const user = users.get(username);
      const same = await checks.matches(user?.password ?? costliest, password, context);
      return user && same ? verdictOf(user) : false;
    },
    find_user: (username) => knownUser(users.get(username)),
  });
}
