import { TaskflowError } from '../errors.js';
import { waitUnref } from '../waiting.js';
import type { AuthLog } from './auth-log.js';
import type { AuthenticatedLogin } from './authenticate.js';
import type { LoginAttempt } from './login-attempt.js';
import type { OpenedSession, SessionOpener } from './sessions/session-opener.js';
import type { FamiliarPlaces } from './throttle/familiar-places.js';

/*
 * The steps of a login:
 *
 * 1. The route (`sign-in-routes.ts`) reads the request into a LoginAttempt.
 * 2. `authenticate` checks the credentials.
 * 3. `SessionOpener` opens a session and ends the sessions that the request carried.
 * 4. The route sets the cookies.
 *
 * Steps 2 and 3 do not use the Koa context.
 */

interface LoginDeps {
  authenticate(attempt: LoginAttempt): Promise<AuthenticatedLogin | undefined>;
  opener: Pick<SessionOpener, 'open'>;
  familiar: Pick<FamiliarPlaces, 'rememberNetwork'>;
  log: Pick<AuthLog, 'success'>;
  /** Minimum number of seconds before a failed login is answered. */
  floor: number;
}

/** Checks the credentials of an attempt and opens a session. */
export type LogIn = (attempt: LoginAttempt) => Promise<OpenedSession>;

/**
 * Makes the function that logs users in. It rejects with INVALID_CREDENTIALS if the login fails for
 * any reason, after at least `floor` seconds. It rejects with THROTTLED if the throttle refuses the
 * attempt, before any strategy is asked.
 */
export function createLogIn({ authenticate, opener, familiar, log, floor }: LoginDeps): LogIn {
  return async function logIn(attempt) {
    const started = performance.now();
    const found = await authenticate(attempt);
    if (!found) {
      if (floor > 0) await waitUnref(Math.max(0, floor * 1000 - (performance.now() - started)));
      throw new TaskflowError('INVALID_CREDENTIALS', 'Invalid username or password.', {
        headers: { 'WWW-Authenticate': 'Bearer realm="koa-taskflow"' },
      });
    }
    const { user, failures } = found;
    const opened = await opener.open(attempt, user, failures + 1);
    await familiar.rememberNetwork(
      { username: attempt.username, address: attempt.request.ip },
      user,
    );
    const durationMs = Math.round(performance.now() - started);
    log.success(attempt.request, opened.session, { via: attempt.via, durationMs, failures });
    return opened;
  };
}
