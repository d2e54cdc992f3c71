import { hasRole, type Role } from '../../http/access.js';

/** Seconds that an API token lasts at most if the present roles of its owner cannot be known. */
export const longestUnchecked = 30 * 86_400;

/** What a strategy says at present about the owner of API tokens. */
export interface OwnerNow {
  /** The roles of the owner; `undefined` if the strategy cannot tell them. */
  readonly roles: readonly Role[] | undefined;
  /** Whether the roles are those of an earlier time, because the strategy cannot ask again. */
  readonly unchecked: boolean;
  /** Identifies the account, if the strategy can tell it from a later one with the same name. */
  readonly identity: string | undefined;
}

/**
 * Returns the user of a strategy as it is at present, or `undefined` if there is no such user or no
 * such strategy. With `fresh`, the strategy is asked again, whatever is in the cache.
 */
export type FindOwner = (
  strategy: string,
  username: string,
  fresh?: 'fresh',
) => Owner | Promise<Owner>;

type Owner = OwnerNow | undefined;

/** Whether a strategy cannot say at present that the owner has these roles. */
export function areUnchecked({ roles, unchecked }: OwnerNow): boolean {
  return roles === undefined || unchecked;
}

/** Returns those of the roles that the owner has, as far as the strategy knows. */
export function rolesAmong(roles: readonly Role[], { roles: had }: OwnerNow): readonly Role[] {
  return had ? roles.filter((role) => hasRole(had, role)) : roles;
}
