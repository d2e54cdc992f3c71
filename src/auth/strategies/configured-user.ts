import type { Role } from '../../http/access.js';
import { wrongType } from '../../options.js';
import { optionsObject } from '../../options-object.js';
import { wrongSecret } from '../../secret-options.js';
import { type StoredPassword, storePassword } from '../passwords/stored-password.js';
import { type FollowedSecret, followSecret } from '../secrets/followed-secret.js';
import type { Secret } from '../secrets/secret.js';
import type { Finding } from './command-port.js';
import { fault, ok, warning } from './finding.js';
import type { AuthStrategy, KnownUser, Strategy, StrategyParts, Verdict } from './strategy.js';
import { isUserName, rolesOption } from './user-fields.js';
import { fullAccess } from './verdict.js';

/** Options of one configured user. */
export interface UserOptions {
  /**
   * Roles of the user. Default: `['admin']`, which is full access. With `[]`, the user may only
   * read.
   */
  roles?: readonly Role[] | undefined;
}

/**
 * A user: name, password (plain text or a PHC hash string, or a file or function that has it),
 * options.
 */
export type UserEntry = readonly [
  username: string,
  password: Secret | undefined,
  options?: UserOptions,
];

/** A configured user whose entry was checked. */
export interface User {
  password: FollowedSecret<StoredPassword>;
  roles: readonly Role[] | undefined;
  /** The result of `find_user` for each password that the user has had. */
  known: WeakMap<StoredPassword, KnownUser>;
}

type Users = ReadonlyMap<string, User>;

const configured = new WeakMap<Strategy, Users>();

/**
 * Returns the warnings about the present passwords and hashes of a strategy. Each names its user.
 */
export function passwordWarningsOf(strategy: Strategy): readonly string[] {
  return [...(configured.get(strategy) ?? [])].flatMap(([name, { password }]) =>
    password.value ? weaknessOf(name, password.value) : [],
  );
}

/** Whether the strategy has configured users, of which those without roles have full access. */
export function isConfigured(strategy: Strategy): boolean {
  return configured.has(strategy);
}

function weaknessOf(username: string, { weakness }: StoredPassword): readonly string[] {
  return weakness === undefined ? [] : [`user '${username}': ${weakness}`];
}

/** Text of the log line about a warning of {@link passwordWarningsOf}. */
export const weakPassword =
  'a configured password is weak or looks wrong; create a hash with: npx koa-taskflow hash';

/** Gives a strategy the warnings of the strategy that it wraps. */
export function copyWarnings(from: AuthStrategy, to: AuthStrategy): void {
  const users = configured.get(from);
  if (users) configured.set(to, users);
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
  const password = user?.password.get();
  if (!user || !password) return undefined;
  return password instanceof Promise
    ? password.then((first) => knownWith(user, first))
    : knownWith(user, password);
}

function knownWith(
  { roles, known }: User,
  password: StoredPassword,
): KnownUser | Promise<KnownUser> {
  const found = known.get(password);
  if (found) return found;
  const keep = (version: string): KnownUser => {
    const state = Object.freeze({ version, roles: roles && Object.freeze(roles) });
    known.set(password, state);
    return state;
  };
  const version = password.version();
  return typeof version === 'string' ? keep(version) : version.then(keep);
}

/**
 * Keeps the users of a strategy for {@link passwordWarningsOf}. If a password of theirs can change,
 * the strategy tells its login about each change.
 */
export function withUsers(users: Users, strategy: AuthStrategy): AuthStrategy {
  const followed = [...users].filter(([, { password }]) => password.isFollowed);
  const whole: AuthStrategy = {
    ...strategy,
    doctor: () => userFindings(users),
    explain({ username = '' }) {
      const user = users.get(username);
      return user
        ? { username, roles: user.roles ?? fullAccess }
        : { roles: false, reason: 'unknown_user' };
    },
    ...(followed.length > 0 && { attach: (parts) => tellAboutChanges(followed, parts) }),
  };
  configured.set(whole, users);
  return whole;
}

async function userFindings(users: Users): Promise<readonly Finding[]> {
  const findings = await Promise.all(
    [...users].map(async ([name, { password }]): Promise<readonly Finding[]> => {
      const what = `password of '${name}'`;
      try {
        const { weakness } = await password.get();
        if (weakness !== undefined) {
          const todo = 'create a hash with: npx koa-taskflow hash';
          return [warning(what, weakness, todo)];
        }
        return password.isFollowed ? [ok(what, 'can be read')] : [];
      } catch (error) {
        const todo = 'correct the file or the function of this password';
        return [fault(what, (error as Error).message, todo)];
      }
    }),
  );
  return [ok('users', String(users.size)), ...findings.flat()];
}

function tellAboutChanges(
  users: readonly (readonly [string, User])[],
  { logger, usersChanged }: StrategyParts,
): void {
  for (const [name, { password }] of users) {
    password.logTo(logger);
    password.onChange((changed) => {
      usersChanged();
      for (const weakness of weaknessOf(name, changed)) logger.warn({ weakness }, weakPassword);
    });
  }
}

/** How errors name the parts of a user entry. */
export interface EntryNames {
  /** Stands before the name of the password and the roles, such as `multiUser`. */
  where: string;
  username: string;
  options: string;
}

/** Checks a user entry of a configuration. */
export function readUser(
  [username, password, options]: readonly unknown[],
  { where, ...names }: EntryNames,
): User {
  if (!isUserName(username))
    throw wrongType(names.username, username, 'a string of 1 to 256 printable characters');
  const { roles } = optionsObject<UserOptions>(
    names.options,
    options as UserOptions | undefined,
    ['roles'],
    true,
  );
  const option = `${where}: password of '${username}'`;
  return {
    roles: rolesOption(`${where}: roles of '${username}'`, roles),
    password: followSecret(password, {
      option,
      read(text, isFollowed) {
        if (isFollowed && /[\0\r\n]/.test(text))
          throw wrongSecret(option, 'a single line of text', TypeError);
        return storePassword(username, text, option);
      },
      prepare: (changed) => changed.version(true),
    }),
    known: new WeakMap(),
  };
}
