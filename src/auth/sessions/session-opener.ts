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

/** A session that a login opened. */
export interface OpenedSession {
  session: Session;
  token: string;
}

/**
 * Bytes by which the cookie of a session may grow: a renewed token has times with fractions, and
 * HTTPS adds `__Host-`.
 */
const reserved = 64;

interface OpenerDeps {
  tokens: Pick<Tokens, 'sign' | 'signOutOf'>;
  reader: Pick<SessionReader, 'openOf'>;
  revocations: Pick<Revocations, 'ready' | 'end'>;
  list: Pick<SessionList, 'put'>;
  open: Pick<OpenSessions, 'endSurplus'>;
  log: Pick<AuthLog, 'strategyError' | 'fail'>;
  /** Seconds a session lasts from its login. */
  tokenExpiry: number;
  /** Seconds a token lasts. Default: `tokenExpiry`. */
  idleTimeout: number | undefined;
}

/** Opens the sessions of logins. */
export class SessionOpener {
  readonly #deps: OpenerDeps;

  constructor(deps: OpenerDeps) {
    this.#deps = deps;
  }

  /**
   * Opens a session for a user, and ends those that the request came with, so that nothing from
   * before a login outlives it. `attempts` is how many attempts the login took, for the log.
   *
   * @throws TaskflowError FORBIDDEN (rejects) if browsers would drop the cookie of the session.
   */
  async open(attempt: LoginAttempt, user: Verified, attempts: number): Promise<OpenedSession> {
    const { tokens, reader, revocations, list, open, tokenExpiry } = this.#deps;
    const { request } = attempt;
    const opened = this.#create(user);
    const { session, token } = opened;
    const bytes = attempt.cookieName.length + token.length + reserved;
    if (bytes > maxCookieBytes) throw this.#oversized(attempt, session, { bytes, attempts });
    const before = await reader.openOf(attempt.tokens, request);
    // A process that does not know which sessions were ended would not accept the new one either.
    await revocations.ready();
    await Promise.all(before.map((each) => revocations.end(each.id, endOf(each, tokenExpiry))));
    await list.put(session, tokens.signOutOf(session), request);
    await open.endSurplus(session, request);
    return opened;
  }

  #create({
    version,
    signOut,
    authenticatedAt,
    username,
    strategy,
    roles,
  }: Verified): OpenedSession {
    const { tokens, tokenExpiry, idleTimeout = tokenExpiry } = this.#deps;
    const seconds = Math.min(tokenExpiry, idleTimeout);
    const session: Session = {
      id: randomBytes(16).toString('base64url'),
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
   * Browsers would drop the cookie of this session: the login would seem to work, and the next page
   * would ask for it again. The limit is the same for a Bearer token, which is read up to that
   * size.
   */
  #oversized(
    { request }: LoginAttempt,
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
