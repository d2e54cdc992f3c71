import { randomUUID } from 'node:crypto';
import type { Role } from '../../http/access.js';
import { numberOption, tenYears, wrongKind } from '../../options.js';
import { optionsObject } from '../../options-object.js';
import { kindOfSecret } from '../../secret-options.js';
import { type PaddedChecks, paddedChecks } from '../passwords/padding.js';
import { type StoredPassword, storeHash } from '../passwords/stored-password.js';
import { fault, ok } from './finding.js';
import { type RolesOf, type RolesRule, rolesRule } from './roles.js';
import type { AuthStrategy, FindUserContext, Verdict } from './strategy.js';
import { isRoleList, isUserName } from './user-fields.js';

/** A user of a database. */
export interface DatabaseUser {
  /** The hash of the password: bcrypt, or argon2, scrypt or PBKDF2 as a PHC string. */
  hash: string;
  /**
   * The canonical name, if `find` accepts several spellings. `find` is called with this name later.
   * Default: the name as typed.
   */
  username?: string | undefined;
  /** The roles of this user. They take precedence over the option `roles`. */
  roles?: readonly Role[] | undefined;
  /**
   * A text that belongs to this user for ever and to no other one, such as the id of the row: 1 to
   * 256 printable characters. API tokens are then not valid for a later user with the same name.
   */
  identity?: string | undefined;
}

/**
 * Finds a user by name: returns the hash of the password, a {@link DatabaseUser}, or `undefined` if
 * there is no such user. May return a thenable, such as the query of a query builder.
 */
export type FindDatabaseUser = (
  username: string,
  context: FindUserContext,
) => DatabaseFound | PromiseLike<DatabaseFound>;

type DatabaseFound = string | DatabaseUser | null | undefined;

/** Options of {@link database}. */
export interface DatabaseOptions {
  /**
   * The roles of users for whom `find` returns none: a list for all users, a table by user name, or
   * a function. Default `[]`: the users may only read.
   */
  roles?: RolesRule<{ readonly username: string }> | undefined;
  /**
   * Seconds for which the last answer of `find` about a signed-in user holds while it fails, at
   * most `tokenExpiry`. Then requests of the user get 503. Default 900.
   */
  staleFor?: number | undefined;
}

/** A checked user. */
interface Found {
  username: string;
  hash: string;
  password: StoredPassword;
  identity: string | undefined;
  roles(): ReturnType<RolesOf<unknown>>;
}

/**
 * A hash of no password. It is checked for an unknown name until the first user was found, whose
 * hash shows what the database has.
 */
const dummy = storeHash('dummy', `$scrypt$ln=15,r=8,p=3$${'A'.repeat(22)}$${'A'.repeat(43)}`);

/**
 * Makes a strategy for the users of your own database. While a user is signed in, `find` is called
 * at most once in 30 seconds. If it returns another hash, other roles or no user, the sessions of
 * the user end.
 *
 * @param find Returns the hash of a user's password.
 * @throws TypeError if `find` is not a function, or an option is wrong. RangeError if a value of an
 * option is not accepted.
 * @example
 * ```ts
 * const auth = createAuth({
 *   strategies: database(async (username) => {
 *     const [user] = await sql`SELECT password_hash FROM users WHERE name = ${username}`;
 *     return user?.password_hash;
 *   }),
 *   secretKey: process.env.TASKFLOW_SECRET_KEY,
 * });
 * ```
 */
export function database(find: FindDatabaseUser, options?: DatabaseOptions): AuthStrategy {
  if (typeof find !== 'function')
    throw wrongKind('database: find', find, 'a function from a user name to a hash');
  const { roles, staleFor } = optionsObject<DatabaseOptions>('database', options, [
    'roles',
    'staleFor',
  ]);
  const rolesOf = rolesRule('database: roles', roles, { from: 'username', lists: ['username'] });
  const checks = checksOfSeenHashes();

  const read = (answer: DatabaseFound, typed: string): Found | undefined => {
    const found = readFound(answer);
    if (!found) return undefined;
    const { hash, username = typed, roles: own, identity } = found;
    const password = readHash(hash);
    checks.see(password);
    const roles = () => own ?? rolesOf({ user: { username }, listOf: () => [username] });
    return { username, hash, password, identity, roles };
  };

  return {
    staleFor: numberOption('database: staleFor', staleFor, undefined, {
      max: tenYears,
      unit: 'seconds',
    }),
    async doctor({ signal }) {
      const what = 'find';
      const isKnown = read(await find(randomUUID(), { signal }), '') !== undefined;
      if (!isKnown) return [ok(what, 'answers, and does not know a random name')];
      const todo = 'return undefined for a name that does not exist';
      return [fault(what, 'returns a user for a random name', todo)];
    },
    async authenticate_user(typed, password, context): Promise<Verdict> {
      const found = await find(typed, context);
      let user: Found | undefined;
      try {
        user = read(found, typed);
      } catch (error) {
        // Without this check, the time would reveal that the user exists.
        await checks.matches(undefined, password, context);
        throw error;
      }
      const same = await checks.matches(user?.password, password, context);
      if (!user || !same) return false;
      const given = await user.roles();
      if (given === false) return { ok: false, reason: 'no_role' };
      return { ok: true, username: user.username, roles: given };
    },
    async find_user(username, context) {
      const answer = await find(username, context);
      if (context.only === 'version') {
        const found = versionIn(answer);
        return found && { version: found.hash, identity: found.identity };
      }
      const user = read(answer, username);
      const given = await user?.roles();
      return user && given
        ? { version: user.hash, identity: user.identity, roles: given }
        : undefined;
    },
  };
}

/**
 * Checks passwords so that a failure takes as long as for the costliest hash that was seen. The
 * database cannot list its hashes.
 */
function checksOfSeenHashes(): PaddedChecks & { see(password: StoredPassword): void } {
  let costliest: StoredPassword | undefined;
  let isMixed = false;
  let checks = paddedChecks([dummy]);
  return {
    see(password) {
      const isSame = password.format === costliest?.format;
      const isCostlier = costliest === undefined || password.cost > costliest.cost;
      if (isSame || (isMixed && !isCostlier)) return;
      isMixed = costliest !== undefined;
      checks = paddedChecks(costliest ? [password, costliest] : [password]);
      if (isCostlier) costliest = password;
    },
    matches: (...args) => checks.matches(...args),
  };
}

/**
 * Returns what a password check needs of an answer. An answer that cannot be read counts as no
 * user, because `authenticate_user` fails for it, after as much work as for a wrong password.
 */
function versionIn(answer: DatabaseFound): DatabaseUser | undefined {
  try {
    return readFound(answer);
  } catch {
    return undefined;
  }
}

const members = ['hash', 'username', 'roles', 'identity'];

/**
 * Returns what `find` found.
 *
 * @throws TypeError if it is neither a hash nor a {@link DatabaseUser}, such as a whole row. The
 * error never contains a value.
 */
function readFound(found: unknown): DatabaseUser | undefined {
  if (found === undefined || found === null) return undefined;
  if (typeof found === 'string') return { hash: found };
  if (typeof found !== 'object' || Array.isArray(found)) throw wrongFound(kindOfSecret(found));
  const others = Object.keys(found).filter((name) => !members.includes(name));
  if (others.length > 0) throw wrongFound(`an object with ${others.slice(0, 5).join(', ')}`);
  const { hash, username, roles, identity } = found as Record<string, unknown>;
  if (typeof hash !== 'string') throw wrongFound(`an object whose hash is ${kindOfSecret(hash)}`);
  if (username !== undefined && !isUserName(username))
    throw wrongFound('a username that is not 1 to 256 printable characters');
  if (roles !== undefined && !isRoleList(roles))
    throw new TypeError(
      "find returned roles that are not a list of at most 32 role names, such as ['viewer']",
    );
  if (identity !== undefined && !isUserName(identity))
    throw wrongFound('an identity that is not 1 to 256 printable characters');
  return { hash, username, identity, roles: roles && [...roles] };
}

function wrongFound(what: string): TypeError {
  return new TypeError(
    `find returned ${what}; it must return a hash, { hash, username?, roles?, identity? }, or ` +
      'undefined if there is no such user with a password',
  );
}

/**
 * Reads a hash.
 *
 * @throws TypeError if the text is not a hash that can be checked. RangeError if it costs too much.
 */
function readHash(hash: string): StoredPassword {
  try {
    return storeHash('the hash that find returned', hash);
  } catch (error) {
    if (error instanceof TypeError)
      throw wrongFound('a text that is not a supported hash (bcrypt, argon2, scrypt or PBKDF2)');
    throw error;
  }
}
