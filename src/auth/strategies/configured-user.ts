import type { Role } from '../../http/access.js';
import { optionsObject, wrongType } from '../../options.js';
import { wrongSecretType } from '../../secret-options.js';
import { type StoredPassword, storePassword } from '../passwords/stored-password.js';
import {
  type AuthStrategy,
  isUserName,
  type KnownUser,
  rolesOption,
  type Verdict,
} from './strategy.js';

/** Options of one configured user. */
export interface UserOptions {
  /** Roles of the user; `['admin']`, full access, by default. `[]` may read only. */
  roles?: readonly Role[] | undefined;
}

/** One user: name, password (plain text or a PHC hash string), options. */
export type UserEntry = readonly [
  username: string,
  password: string | undefined,
  options?: UserOptions,
];

/** A configured user, checked. */
export interface User {
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

/** Returns the verdict that accepts a user. */
export function verdictOf({ roles }: User): Verdict {
  return roles ? { ok: true, roles } : true;
}

/**
 * Returns the same object each time once the password is hashed, because every request of a session
 * needs it.
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

/** Keeps the warnings about the passwords of a strategy, for {@link passwordWarningsOf}. */
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

/** Checks one entry of a configuration. */
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
