import type { Role } from '../../http/access.js';

/**
 * What a strategy says at present about the roles of a user: a list of roles, `unknown` if the
 * strategy cannot tell, or `undefined` if there is no such user or no such strategy.
 */
export type RolesNow = readonly Role[] | 'unknown' | undefined;
