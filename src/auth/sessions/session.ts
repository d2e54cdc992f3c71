import type { Role } from '../../http/access.js';

/**
 * The session of a user, read from a valid token, or the user that a request strategy identified.
 * Such an identity lasts for one request: it is in no store, in no cookie and in no list, and a
 * logout cannot end it.
 */
export interface Session {
  /**
   * The token's `jti`. The identity of a request has `request:STRATEGY:USERNAME`, which no token
   * has: it is the same for all requests of the user.
   */
  id: string;
  username: string;
  /** Name of the strategy that accepted the user. */
  strategy: string;
  roles: readonly Role[];
  /** When the token was issued; for the identity of a request, when the user was identified. */
  issuedAt: Date;
  /**
   * When the token expires. The identity of a request expires after 60 seconds: what goes on for
   * longer, such as a stream, must have the user identified again.
   */
  expiresAt: Date;
  /**
   * When the login began, before the password was checked; for the identity of a request, the same
   * as `issuedAt`. When the user signed in at the proxy is not known.
   */
  authenticatedAt: Date;
}

/** Returns when the last token of a session expires, however often it is renewed. */
export function endOf(
  { authenticatedAt }: Pick<Session, 'authenticatedAt'>,
  tokenExpiry: number,
): Date {
  return new Date(authenticatedAt.getTime() + tokenExpiry * 1000);
}
