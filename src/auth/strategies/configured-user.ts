import type { Role } from '../../http/access.js';
import { wrongType } from '../../options.js';
import { optionsObject } from '../../options-object.js';
import { wrongSecretType } from '../../secret-options.js';
import { type StoredPassword, storePassword } from '../passwords/stored-password.js';
import {
  type AuthStrategy,
  isUserName,
  type KnownUser,
  rolesOption,
  type Strategy,
  type Verdict,
} from './strategy.js';

/** Options of one configured user. */
export interface UserOptions {
  /**
   * Roles of the user. Default: `['admin']`, which is full access. With `[]`, the user may only
   * read.
   */
  roles?: readonly Role[] | undefined;
}

/** A user: name, password (plain text or a PHC hash string), options. */
export type UserEntry = readonly [
  username: string,
  password: string | undefined,
  options?: UserOptions,
];

/** A configured user whose entry was checked. */
export interface User {
  password: StoredPassword;
  roles: readonly Role[] | undefined;
  /** The result of `find_user`, once the password is hashed. */
  known?: KnownUser;
}

const weak = new WeakMap<Strategy, readonly string[]>();

/**
 * Returns the warnings about the configured passwords and hashes of a strategy. Each names its
 * user.
 */
export function passwordWarningsOf(strategy: Strategy): readonly string[] {
  return weak.get(strategy) ?? [];
}

/** Returns the verdict that accepts a user. */
export function verdictOf({ roles }: User): Verdict {
  return roles ? { ok: true, roles } : true;
}

/**
 * Returns the result of `find_user` for a user. Once the password is hashed, this is always the
 * same object, because every request of a session needs it.
 */
export function knownUser(user: User | undefined): KnownUser | undefined | Promise<KnownUser> {
  if (!user || user.known) return user?.known;
  const keep = (version: string): KnownUser => {
    user.known = Object.freeze({ version, roles: user.roles && Object.freeze(user.roles) });
    return user.known;
  };
  const version = user.password.version();
  return typeof version === 'string' ? keep(version) : version.then(keep);
}

/** Stores the warnings about the passwords of a strategy for {@link passwordWarningsOf}. */
export function withWarnings(
  users: ReadonlyMap<string, User>,
  strategy: AuthStrategy,
): AuthStrategy {
  const warnings = [...users].flatMap(([name, { password }]) =>
    password.weakness ? [`user '${name}': ${password.weakness}`] : [],
  );
  weak.set(strategy, warnings);
  return strategy;
}

/** Checks a user entry of a configuration. */
export function readUser(entry: unknown, name: string): User {
  if (!Array.isArray(entry) || entry.length < 2 || entry.length > 3) {
    throw wrongSecretType(
      name,
      entry,
      'a list of a name, a password and options, such as ' +
        "['alice', password, { roles: ['viewer'] }]",
    );
  }
  const [username, password, options] = entry as readonly unknown[];
  if (!isUserName(username))
    throw wrongType('username', username, 'a string of 1 to 256 printable characters');
  const { roles } = optionsObject<UserOptions>(
    `user '${username}'`,
    options as UserOptions | undefined,
    ['roles'],
  );
  return {
    password: storePassword(username, password),
    roles: rolesOption(`roles of '${username}'`, roles),
  };
}
