import type { Role } from '../http/access.js';

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
  /** When the password was checked. */
  authenticatedAt: Date;
}
