import type { Role } from '../../http/access.js';
import { isRoleList, isUserName } from './strategy.js';

/** A user whom a strategy accepted. */
export interface Accepted {
  username: string;
  roles: readonly Role[];
}

/** A checked verdict. `user` is `undefined` if the user was rejected. */
export interface CheckedVerdict {
  user: Accepted | undefined;
  /** Why the user was rejected, if the strategy said it. */
  reason?: string;
}

const full: readonly Role[] = ['admin'];

/**
 * Checks a verdict. `false` and `{ ok: false }` reject the user. `typed` is the name of the user if
 * the verdict names none, and `defaultRoles` are the roles if it has none.
 *
 * @throws TypeError for any other value than a verdict.
 */
export function readVerdict(
  verdict: unknown,
  typed: string | undefined,
  defaultRoles: readonly Role[] = full,
): CheckedVerdict {
  if (verdict === false) return { user: undefined };
  if (verdict === true) return accepted({}, typed, defaultRoles);
  const { ok, reason } = (verdict ?? {}) as { ok?: unknown; reason?: unknown };
  if (typeof verdict === 'object' && ok === false)
    return { user: undefined, ...(reason !== undefined && { reason: reasonOf(reason) }) };
  if (typeof verdict !== 'object' || ok !== true)
    throw new TypeError(
      'the strategy returned neither true, false nor an object with ok: true or ok: false',
    );
  return accepted(verdict as { username?: unknown; roles?: unknown }, typed, defaultRoles);
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
