import { randomBytes } from 'node:crypto';
import { TaskflowError } from '../../errors.js';
import type { AuthLog } from '../auth-log.js';
import type { LoginAttempt } from '../login-attempt.js';
import type { Verified } from '../verify-login.js';
import { maxCookieBytes } from './cookies.js';
import type { SessionReader } from './current-session.js';
import type { OpenSessions } from './open-sessions.js';
import type { Revocations } from './revocations.js';
import { endOf, type Session } from './session.js';
import type { SessionList } from './session-list.js';
import type { Tokens } from './tokens.js';

/*
 * A login opens its session in these steps:
 *
 * 1. Create the session and its token, and check that browsers will accept the cookie.
 * 2. End the sessions that the new one replaces, so that they do not outlive the login: those that
 *    the request carried, and those that the browser had when the login began.
 * 3. Add the session to the session list.
 * 4. End the sessions of the user beyond `maxSessions`.
 */

/** A session that a login opened. */
export interface OpenedSession {
  session: Session;
  token: string;
}

/**
 * Reserved bytes by which the cookie of a session may grow: a renewed token has times with
 * fractions, and HTTPS adds `__Host-`.
 */
const reserved = 64;

/** What a login takes from its request. */
export interface Opening extends Pick<LoginAttempt, 'request' | 'tokens' | 'cookieName'> {
  /** The id of the new session. Default: a random one. */
  sessionId?: string | undefined;
  /** The ids of other sessions that the new one replaces. */
  replaces?: readonly string[] | undefined;
}

interface OpenerDeps {
  tokens: Pick<Tokens, 'sign'>;
  reader: Pick<SessionReader, 'openOf'>;
  revocations: Pick<Revocations, 'ready' | 'end'>;
  list: Pick<SessionList, 'put'>;
  open: Pick<OpenSessions, 'endSurplus'>;
  log: Pick<AuthLog, 'strategyError' | 'fail'>;
  /** Seconds that a session lasts from its login. */
  tokenExpiry: number;
  /** Seconds that a token lasts. Default: `tokenExpiry`. */
  idleTimeout: number | undefined;
}

/** Opens the sessions of logins. */
export class SessionOpener {
  readonly #deps: OpenerDeps;

  constructor(deps: OpenerDeps) {
    this.#deps = deps;
  }

  /**
   * Opens a session for a user and ends the sessions that it replaces. `attempts` is the
   * number of attempts that the login took, for the log.
   *
   * @throws TaskflowError FORBIDDEN (rejects) if browsers would drop the cookie of the session.
   */
  async open(opening: Opening, user: Verified, attempts: number): Promise<OpenedSession> {
    const { reader, revocations, list, open, tokenExpiry } = this.#deps;
    const { request } = opening;
    const opened = this.#create(user, opening.sessionId);
    const { session, token } = opened;
    const bytes = opening.cookieName.length + token.length + reserved;
    if (bytes > maxCookieBytes) throw this.#oversized(opening, session, { bytes, attempts });
    const before = await reader.openOf(opening.tokens, request);
    // If this process does not know the ended sessions, it would not accept the new session either.
    await revocations.ready();
    const ends = new Map([
      // A session that was open before the login ends before the new one.
      ...(opening.replaces ?? []).map((each) => [each, endOf(session, tokenExpiry)] as const),
      ...before.map((each) => [each.id, endOf(each, tokenExpiry)] as const),
    ]);
    await Promise.all([...ends].map(([ended, end]) => revocations.end(ended, end)));
    await list.put(session, request);
    await open.endSurplus(session, request);
    return opened;
  }

  #create(
    { version, signOut, authenticatedAt, username, strategy, roles }: Verified,
    id = randomBytes(16).toString('base64url'),
  ): OpenedSession {
    const { tokens, tokenExpiry, idleTimeout = tokenExpiry } = this.#deps;
    const seconds = Math.min(tokenExpiry, idleTimeout);
    const session: Session = {
      id,
      username,
      strategy,
      roles,
      issuedAt: authenticatedAt,
      expiresAt: new Date(authenticatedAt.getTime() + seconds * 1000),
      authenticatedAt,
    };
    return { session, token: tokens.sign(session, version, signOut) };
  }

  /**
   * Returns the error for a session whose cookie browsers would drop. The login would seem to work,
   * but the next page would ask the user to sign in again. The same limit applies to Bearer tokens.
   */
  #oversized(
    { request }: Opening,
    { strategy, username }: Session,
    { bytes, attempts }: { bytes: number; attempts: number },
  ): TaskflowError {
    const error = new RangeError(
      `the username and the roles of the user make a session cookie of ${bytes} bytes, ` +
        `but browsers keep at most ${maxCookieBytes}; ` +
        'return a shorter username, or fewer or shorter roles',
    );
    const { log } = this.#deps;
    log.strategyError(request, strategy, error, 0, []);
    log.fail(request, 'strategy_error', username, attempts);
    return new TaskflowError(
      'FORBIDDEN',
      'The login could not be completed, because the data of your account is too long for a ' +
        'session. ' +
        'Ask the administrator of this site.',
    );
  }
}
