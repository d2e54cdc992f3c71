import { rangeError } from '../../options.js';
import { wrongSecretType } from '../../secret-options.js';
import { type PaddedChecks, paddedChecks } from '../passwords/padding.js';
import type { StoredPassword } from '../passwords/stored-password.js';
import {
  knownUser,
  readUser,
  type User,
  type UserEntry,
  verdictOf,
  withUsers,
} from './configured-user.js';
import type { AuthStrategy, Verdict } from './strategy.js';

/**
 * Makes a strategy for several users. Plain passwords are hashed in the background. The check of an
 * unknown name takes as long as that of a wrong password. A changed password of a file or function
 * takes effect without a restart and ends the sessions of its user.
 *
 * @throws TypeError if the list is empty, an entry is not a name, a password and options, or the
 * file of a password cannot be read. RangeError if a name is given twice.
 */
export function multiUser(entries: readonly UserEntry[]): AuthStrategy {
  return usersOf(entries, 'multiUser', 'multiUser: users');
}

/**
 * Makes the strategy of {@link multiUser} from a list. Errors name the list `option`, and `where`
 * stands before the name of a password.
 */
export function usersOf(
  entries: readonly UserEntry[],
  where: string,
  option: string,
): AuthStrategy {
  if (!Array.isArray(entries) || entries.length === 0)
    throw wrongSecretType(
      option,
      entries,
      "a list such as [['alice', password]], with at least one user",
    );
  const users = new Map<string, User>();
  for (const [index, entry] of (entries as readonly UserEntry[]).entries()) {
    const name = `${option}[${index}]`;
    if (!Array.isArray(entry) || entry.length < 2 || entry.length > 3)
      throw wrongSecretType(
        name,
        entry,
        'a list of a name, a password and options, such as ' +
          "['alice', password, { roles: ['viewer'] }]",
      );
    const user = readUser(entry, { where, username: `${name}[0]`, options: `${name}[2]` });
    if (users.has(entry[0])) throw rangeError(`${where}: user '${entry[0]}' is given twice`);
    users.set(entry[0], user);
  }
  const passwords = [...users.values()].map(({ password }) => password);
  let checks = checksOf(passwords.flatMap(({ value }) => value ?? []));
  for (const password of passwords)
    password.onChange(() => {
      checks = checksOf(passwords.flatMap(({ value }) => value ?? []));
    });

  return withUsers(users, {
    local: true,
    async authenticate_user(username, password, context): Promise<Verdict> {
      const user = users.get(username);
      const own = await user?.password.get();
      // Without any password yet, this waits for the first answer of a function.
      if (!checks) await passwords[0]?.get();
      if (!checks) return false;
      const same = await checks.matches(own, password, context);
      return user && same ? verdictOf(user) : false;
    },
    find_user: (username) => knownUser(users.get(username)),
  });
}

/** Returns the checks of these passwords; `undefined` for an empty list. */
function checksOf(passwords: readonly StoredPassword[]): PaddedChecks | undefined {
  return passwords.length === 0 ? undefined : paddedChecks(passwords);
}
