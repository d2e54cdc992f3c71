import type { Role } from '../../http/access.js';
import { wrongType } from '../../options.js';

/** Matches 1 to 256 characters without control characters and lone surrogates. */
const printable = /^[^\p{Cc}\p{Cs}\u2028\u2029]{1,256}$/u;

/** Whether a value may be the name of a user: 1 to 256 printable characters. */
export function isUserName(value: unknown): value is string {
  return typeof value === 'string' && printable.test(value);
}

/** Checks the roles of a configured user. Throws if the value is not a list of role names. */
export function rolesOption(option: string, roles: unknown): readonly Role[] | undefined {
  if (roles === undefined) return undefined;
  if (!isRoleList(roles))
    throw wrongType(option, roles, "a list of at most 32 role names, such as ['viewer']");
  return [...roles];
}

/** Whether a value is a list of at most 32 role names. */
export function isRoleList(roles: unknown): roles is readonly Role[] {
  return (
    Array.isArray(roles) &&
    roles.length <= 32 &&
    roles.every((role) => isUserName(role) && role.length <= 64)
  );
}

/** Whether two lists have the same roles, in any order. */
export function sameRoles(some: readonly Role[], others: readonly Role[]): boolean {
  return new Set(some).size === new Set(others).size && some.every((role) => others.includes(role));
}
