import { createHash, timingSafeEqual } from 'node:crypto';
import type { Role } from '../http/access.js';
import { optionsObject, wrongType } from '../options.js';
import { decoyPassword, type StoredPassword, storePassword } from './password.js';
import { type AuthStrategy, isUserName, rolesOption, type Verdict } from './strategy.js';

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
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/**
 * Several users. Plain passwords are hashed when this is called; an unknown name costs the same work as a wrong password.
 *
 * @throws TypeError where the list is empty or an entry is not a name, a password and options; RangeError for a name given twice.
 */
export function multiUser(entries: readonly UserEntry[]): AuthStrategy {
  if (!Array.isArray(entries) || entries.length === 0)
    throw wrongType('users', entries, "a list such as [['alice', 'password']], with at least one user");
  const users = new Map<string, User>();
  for (const entry of entries as readonly unknown[]) addUser(users, entry);
  const decoy = decoyPassword();

  return {
    async authenticate_user(username, password): Promise<Verdict> {
      const user = users.get(username);
      const same = await (user ?? { password: decoy }).password.matches(password);
      if (!user || !same) return false;
      return user.roles ? { ok: true, roles: user.roles } : true;
    },
    find_user: (username) => {
      const user = users.get(username);
      return user && { version: '', roles: user.roles };
    },
  };
}

/**
 * One fixed user; name and password are always both compared, in constant time.
 *
 * @throws TypeError when the password is `undefined` ("password of 'admin' is not set") or not a string.
 */
export function staticUser(username: string, password: string | undefined, options?: UserOptions): AuthStrategy {
  const users = new Map<string, User>();
  addUser(users, [username, password, options]);
  const user = users.get(username);
  const expectedName = digest(username);

  return {
    async authenticate_user(givenName, givenPassword): Promise<Verdict> {
      const sameName = timingSafeEqual(digest(givenName), expectedName);
      const samePassword = (await user?.password.matches(givenPassword)) === true;
      if (!sameName || !samePassword) return false;
      return user?.roles ? { ok: true, roles: user.roles } : true;
    },
    find_user: (givenName) => (givenName === username && user ? { version: '', roles: user.roles } : undefined),
  };
}

function addUser(users: Map<string, User>, entry: unknown): void {
  if (!Array.isArray(entry) || entry.length < 2 || entry.length > 3) {
    throw new TypeError("each user is a list of two or three: ['alice', 'password', { roles: ['viewer'] }]");
  }
  const [username, password, options] = entry as readonly unknown[];
  if (!isUserName(username)) throw wrongType('username', username, 'a string of 1 to 256 printable characters');
  if (users.has(username)) throw new RangeError(`user '${username}' is given twice`);
  const { roles } = optionsObject<UserOptions>(`user '${username}'`, options as UserOptions | undefined, ['roles']);
  users.set(username, {
    password: storePassword(`password of '${username}'`, password),
    roles: rolesOption(`roles of '${username}'`, roles),
  });
}
