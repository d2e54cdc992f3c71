import { createHash, timingSafeEqual } from 'node:crypto';
import type { Role } from '../../http/access.js';
import { optionsObject, rangeError, wrongSecretType, wrongType } from '../../options.js';
import { paddedChecks } from '../passwords/padding.js';
import { type StoredPassword, storePassword } from '../passwords/stored-password.js';
import { type AuthStrategy, isUserName, type KnownUser, rolesOption, type Verdict } from './strategy.js';

/** Options of one configured user. */
export interface UserOptions {
  /** Roles of the user; `['admin']`, full access, by default. `[]` may read only. */
  roles?: readonly Role[] | undefined;
}

/** One user: name, password (plain text or a PHC hash string), options. */
export type UserEntry = readonly [username: string, password: string | undefined, options?: UserOptions];

interface User {
  password: StoredPassword;
  roles: readonly Role[] | undefined;
  /** The answer of `find_user`, once it is known. */
  known?: KnownUser;
}

const weak = new WeakMap<AuthStrategy, readonly string[]>();

/**
 * Returns what is weak about the configured passwords and hashes of a strategy, each with the name
 * of its user.
 */
export function passwordWarningsOf(strategy: AuthStrategy): readonly string[] {
  return weak.get(strategy) ?? [];
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/**
 * Makes a strategy for several users. Plain passwords are hashed in the background. An unknown name
 * costs the same work as a wrong password.
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
    throw wrongSecretType(option, entries, "a list such as [['alice', password]], with at least one user");
  const users = new Map<string, User>();
  for (const [index, entry] of (entries as readonly UserEntry[]).entries()) {
    const user = readUser(entry, `${option}[${index}]`);
    if (users.has(entry[0])) throw rangeError(`user '${entry[0]}' is given twice`);
    users.set(entry[0], user);
  }
  const passwords = [...users.values()].map(({ password }) => password);
  const checks = paddedChecks(passwords);
  // An unknown name is checked against the costliest hash, and rejected whatever the result.
  const costliest = passwords.reduce((one, other) => (other.cost > one.cost ? other : one));

  return withWarnings(users, {
    async authenticate_user(username, password, context): Promise<Verdict> {
      const user = users.get(username);
      const same = await checks.matches(user?.password ?? costliest, password, context);
      return user && same ? verdictOf(user) : false;
    },
    find_user: (username) => known(users.get(username)),
  });
}

/**
 * Makes a strategy for one user. Name and password are always both compared, in constant time.
 *
 * @throws TypeError if the password is `undefined` ("password of 'admin' is not set") or not a
 * string.
 */
export function staticUser(username: string, password: string | undefined, options?: UserOptions): AuthStrategy {
  const user = readUser([username, password, options], 'user');
  const expectedName = digest(username);

  return withWarnings(new Map([[username, user]]), {
    async authenticate_user(givenName, givenPassword, context): Promise<Verdict> {
      const sameName = timingSafeEqual(digest(givenName), expectedName);
      const samePassword = await user.password.matches(givenPassword, { context });
      return sameName && samePassword ? verdictOf(user) : false;
    },
    find_user: (givenName) => known(givenName === username ? user : undefined),
  });
}

function verdictOf({ roles }: User): Verdict {
  return roles ? { ok: true, roles } : true;
}

/**
 * Returns the same object each time once the password is hashed, because every request of a session
 * needs it.
 */
function known(user: User | undefined): KnownUser | undefined | Promise<KnownUser> {
  if (!user || user.known) return user?.known;
  const keep = (version: string): KnownUser => {
    user.known = Object.freeze({ version, roles: user.roles && Object.freeze(user.roles) });
    return user.known;
  };
  const version = user.password.version();
  return typeof version === 'string' ? keep(version) : version.then(keep);
}

function withWarnings(users: ReadonlyMap<string, User>, strategy: AuthStrategy): AuthStrategy {
  const warnings = [...users].flatMap(([name, { password }]) => (password.weakness ? [`user '${name}': ${password.weakness}`] : []));
  weak.set(strategy, warnings);
  return strategy;
}

/** Checks one entry of a configuration. */
function readUser(entry: unknown, name: string): User {
  if (!Array.isArray(entry) || entry.length < 2 || entry.length > 3) {
    throw wrongSecretType(name, entry, "a list of a name, a password and options, such as ['alice', password, { roles: ['viewer'] }]");
  }
  const [username, password, options] = entry as readonly unknown[];
  if (!isUserName(username)) throw wrongType('username', username, 'a string of 1 to 256 printable characters');
  const { roles } = optionsObject<UserOptions>(`user '${username}'`, options as UserOptions | undefined, ['roles']);
  return { password: storePassword(username, password), roles: rolesOption(`roles of '${username}'`, roles) };
}
