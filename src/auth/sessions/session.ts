import type { Role } from '../../http/access.js';

/** The session of a user, read from a valid token. */
export interface Session {
  /** The token's `jti`. */
  id: string;
  username: string;
  /** Name of the strategy that accepted the user. */
  strategy: string;
  roles: readonly Role[];
  issuedAt: Date;
  expiresAt: Date;
  /** When the login began, before the password was checked. */
  authenticatedAt: Date;
}

/** Returns when the last token of a session expires, however often it is renewed. */
export function endOf(
  { authenticatedAt }: Pick<Session, 'authenticatedAt'>,
  tokenExpiry: number,
): Date {
  return new Date(authenticatedAt.getTime() + tokenExpiry * 1000);
}
