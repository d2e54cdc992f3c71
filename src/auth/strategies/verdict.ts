import type { Role } from '../../http/access.js';
import type { KnownUser, RejectedPage } from './strategy.js';
import { isRoleList, isUserName } from './user-fields.js';

/** A user whom a strategy accepted. */
export interface Accepted {
  username: string;
  roles: readonly Role[];
}

/** A checked verdict. `user` is `undefined` if the user was rejected. */
export interface CheckedVerdict {
  user: Accepted | undefined;
  /** Why the user was rejected, if the strategy said it. */
  reason?: string | undefined;
  /** The text that the page shows. Only the verdict of a redirecting strategy has it. */
  page?: RejectedPage | undefined;
  /** The name of the rejected user, if the provider gave one. */
  username?: string | undefined;
}

const pages: ReadonlySet<unknown> = new Set<RejectedPage>([
  ...(['no_role', 'no_name', 'too_many_groups', 'name_taken', 'unavailable'] as const),
]);

/** The roles of a verdict that names none. */
export const fullAccess: readonly Role[] = ['admin'];

/**
 * Checks a verdict. `false` and `{ ok: false }` reject the user. `typed` is the name of the user if
 * the verdict names none, and `defaultRoles` are the roles if it has none.
 *
 * @throws TypeError for any other value than a verdict.
 */
export function readVerdict(
  verdict: unknown,
  typed: string | undefined,
  defaultRoles: readonly Role[] = fullAccess,
): CheckedVerdict {
  if (verdict === false) return { user: undefined };
  if (verdict === true) return accepted({}, typed, defaultRoles);
  const { ok, reason, page, username } = (verdict ?? {}) as Partial<Record<string, unknown>>;
  if (typeof verdict === 'object' && ok === false)
    return {
      user: undefined,
      reason: reason === undefined ? undefined : reasonOf(reason),
      page: isPage(page) ? page : undefined,
      username: isUserName(username) ? username : undefined,
    };
  if (typeof verdict !== 'object' || ok !== true)
    throw new TypeError(
      'the strategy returned neither true, false nor an object with ok: true or ok: false',
    );
  return accepted(verdict as { username?: unknown; roles?: unknown }, typed, defaultRoles);
}

/**
 * Checks the answer of `find_user`, because an answer of another shape must not look like a deleted
 * user.
 *
 * @throws TypeError for any other value than a user, `undefined` or `null`.
 */
export function readKnownUser(found: KnownUser | undefined): KnownUser | undefined {
  if (found === undefined || found === null) return undefined;
  const { version, roles, identity } = found;
  if (typeof version !== 'string' || !(roles === undefined || isRoleList(roles)))
    throw new TypeError(
      'find_user must return undefined, or { version, roles? } with a string and a list of at ' +
        'most 32 role names',
    );
  if (identity !== undefined && !isUserName(identity))
    throw new TypeError(
      'identity of the result of find_user must be a string of 1 to 256 printable characters',
    );
  return found;
}

function isPage(page: unknown): page is RejectedPage {
  return pages.has(page);
}

/** Returns the reason as the log shows it. Free text could hold a secret. */
function reasonOf(reason: unknown): string {
  return typeof reason === 'string' && /^[a-z_]{1,32}$/.test(reason) ? reason : 'other';
}

function accepted(
  verdict: { username?: unknown; roles?: unknown },
  typed: string | undefined,
  defaultRoles: readonly Role[],
): CheckedVerdict {
  const { username, roles = defaultRoles } = verdict;
  const name = username ?? typed;
  if (!isUserName(name))
    throw new TypeError(
      'the strategy returned a username that is not 1 to 256 printable characters',
    );
  // The list is copied before the check, so that a later change by the strategy has no effect.
  const copy: unknown = Array.isArray(roles) ? [...(roles as unknown[])] : roles;
  if (!isRoleList(copy))
    throw new TypeError(
      'the strategy returned roles that are not a list of at most 32 names of 64 characters',
    );
  return { user: { username: name, roles: copy } };
}
