import type { Context } from 'koa';
import { catchListenerErrors } from '../../caught-listeners.js';
import { errorFields } from '../../http/error-fields.js';
import type { Auth, AuthParts } from '../create-auth.js';
import { forwardClock } from '../forward-clock.js';
import { currentSession } from './current-session.js';
import type { Session } from './session.js';

/** setTimeout fires at once past this. */
const longestTimer = 2 ** 31 - 1;
/** Milliseconds between two looks at whether the user of a stream is still who it was. */
const lookInterval = 5000;

/**
 * A signal that aborts when the request's session ends: `'expired'` at its time, `'revoked'` when it is ended before, and
 * `'unavailable'` when nobody can say any more whether it holds.
 */
export function endSignal(ctx: Context, auth: Auth, parts: AuthParts): AbortSignal {
  const controller = new AbortController();
  const stops: (() => void)[] = [];
  const end = (reason: 'expired' | 'revoked' | 'unavailable'): void => {
    for (const stop of stops.splice(0)) stop();
    controller.abort(reason);
  };
  ctx.res.once('close', () => {
    for (const stop of stops.splice(0)) stop();
  });
  const watch = async (): Promise<void> => {
    const session = await currentSession(ctx, auth, parts);
    if (!session) return end('revoked');
    const signOut = parts.tokens.signOutOf(session);
    stops.push(parts.revocations.onEnded(session, signOut, () => end('revoked')));
    // It may have been revoked between reading it and listening.
    if (parts.revocations.has(session, signOut)) return end('revoked');
    stops.push(atExpiry(session, parts, end), whenUserChanges(ctx, session, parts, end));
  };
  // A store that cannot say whether the session is good ends it, as it lets no request through.
  watch().catch(() => end('unavailable'));
  return catchListenerErrors(controller.signal, (err) =>
    parts.logger.error({ err: errorFields(err) }, 'a listener of the end of a session failed'),
  );
}

function atExpiry(session: Session, { sessions, idleTimeout }: AuthParts, end: (reason: 'expired' | 'unavailable') => void): () => void {
  const now = forwardClock();
  let timer: NodeJS.Timeout | undefined;
  const waitUntil = (time: number): void => {
    const left = time - now();
    if (left <= 0) over(time);
    else timer = setTimeout(() => waitUntil(time), Math.min(left, longestTimer)).unref();
  };
  const over = (time: number): void => {
    if (idleTimeout === undefined) {
      end('expired');
      return;
    }
    // The person may have gone on in another tab or process: then the session has a newer token.
    sessions.expiryOf(session).then(
      (newer) => (newer > time ? waitUntil(newer) : end('expired')),
      () => end('unavailable'),
    );
  };
  waitUntil(session.expiresAt.getTime());
  return () => clearTimeout(timer);
}

function whenUserChanges(
  ctx: Context,
  session: Session,
  { users, revocations, log, tokens }: AuthParts,
  end: (reason: 'revoked' | 'unavailable') => void,
): () => void {
  const version = tokens.versionOf(session);
  const look = async (): Promise<void> => {
    await revocations.ready();
    if (await users.unchanged(session, version)) return;
    log.found(ctx, session, 'user_changed');
    end('revoked');
  };
  const timer = setInterval(() => void look().catch(() => end('unavailable')), lookInterval).unref();
  return () => clearInterval(timer);
}
