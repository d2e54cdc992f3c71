import type { Role } from '../../http/access.js';

/** A valid login: what a token says, once it has been checked. */
export interface Session {
  /** The token's `jti`. */
  id: string;
  username: string;
  /** Name of the strategy that let the user in. */
  strategy: string;
  roles: readonly Role[];
  issuedAt: Date;
  expiresAt: Date;
  /** When the login began, before the password was checked. */
  authenticatedAt: Date;
}

/** When no token of a session can be valid any more, however often it was renewed. */
export function endOf({ authenticatedAt }: Pick<Session, 'authenticatedAt'>, tokenExpiry: number): Date {
  return new Date(authenticatedAt.getTime() + tokenExpiry * 1000);
}
