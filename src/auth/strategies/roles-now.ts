import { hasRole, type Role } from '../../http/access.js';

/** Seconds that an API token lasts at most if the present roles of its owner cannot be known. */
export const longestUnchecked = 30 * 86_400;

/** The roles that a user had when the strategy could be asked for them the last time. */
export interface LastRoles {
  readonly last: readonly Role[];
}

/**
 * What a strategy says at present about the roles of a user: a list of roles, the last ones if it
 * cannot ask for them again, `unknown` if it cannot tell them, or `undefined` if there is no such
 * user or no such strategy.
 */
export type RolesNow = readonly Role[] | LastRoles | 'unknown' | undefined;

/** Whether the roles are those of an earlier time. */
export function areLast(now: RolesNow): now is LastRoles {
  return typeof now === 'object' && !Array.isArray(now);
}

/** Whether a strategy cannot say at present that the user has these roles. */
export function areUnchecked(now: RolesNow): boolean {
  return now === 'unknown' || areLast(now);
}

/** Returns those of the roles that the user has, as far as the strategy knows. */
export function rolesAmong(
  roles: readonly Role[],
  now: Exclude<RolesNow, undefined>,
): readonly Role[] {
  if (now === 'unknown') return roles;
  const had = areLast(now) ? now.last : now;
  return roles.filter((role) => hasRole(had, role));
}
