import type { Context } from 'koa';
import { catchListenerErrors } from '../../caught-listeners.js';
import { errorFields } from '../../http/error-fields.js';
import type { Logger } from '../../options.js';
import type { AuthLog } from '../auth-log.js';
import { forwardClock } from '../forward-clock.js';
import { requestInfo } from '../request-info.js';
import type { KnownUsers } from '../strategies/known-users.js';
import type { SessionReader } from './current-session.js';
import {
  identityLifetime,
  type RequestIdentities,
  type RequestIdentity,
} from './request-identity.js';
import type { Revocations } from './revocations.js';
import type { Session } from './session.js';
import type { SessionList } from './session-list.js';
import type { Tokens } from './tokens.js';

/*
 * A stream must end when its session ends. Three watchers wait for the end of a session: a callback
 * for a revocation, a timer for the expiry, and a check of whether the user is unchanged, which
 * runs at an interval and when a strategy reports a change. The first one aborts the signal and
 * stops the others. If the request closes first, all watchers stop and the signal never aborts.
 *
 * A user who was identified by a request strategy has no session that could end. The stream of such
 * a user ends so that the client reconnects, and the strategy decides again: after a sign-out
 * everywhere, and after a minute or when the strategy no longer identifies the same user.
 */

/**
 * The longest delay of `setTimeout`, in milliseconds. With a longer delay, the timer fires at once.
 */
const longestTimer = 2 ** 31 - 1;
/** Milliseconds between two checks of whether the user of a stream is unchanged. */
const checkInterval = 5000;

type End = (reason: 'expired' | 'revoked' | 'unavailable' | 'reconnect') => void;

interface EndSignalDeps {
  reader: Pick<SessionReader, 'of' | 'identityOf'>;
  /** Absent without a request strategy. */
  requests: Pick<RequestIdentities, 'isSame'> | undefined;
  tokens: Pick<Tokens, 'versionOf' | 'signOutOf'>;
  revocations: Pick<Revocations, 'ready' | 'has' | 'onEnded' | 'knownSignOut'>;
  users: Pick<KnownUsers, 'unchanged' | 'onChanged'>;
  sessions: Pick<SessionList, 'expiryOf'>;
  log: Pick<AuthLog, 'found'>;
  logger: Logger;
  idleTimeout: number | undefined;
}

/**
 * Makes the function that returns a signal for a request. The signal aborts when the session of the
 * request ends. Its reason is one of these:
 *
 * - `'expired'`: the session has expired.
 * - `'revoked'`: the session was ended before, or its user has changed.
 * - `'unavailable'`: the server cannot know any longer whether the session is valid.
 * - `'reconnect'`: the user must be identified again, by a new request.
 */
export function endSignals({
  reader,
  requests,
  tokens,
  revocations,
  users,
  sessions,
  log,
  logger,
  idleTimeout,
}: EndSignalDeps) {
  const watch = async (ctx: Context, stops: (() => void)[], end: End): Promise<void> => {
    const session = await reader.of(ctx);
    if (!session) return end('revoked');
    const identity = reader.identityOf(ctx);
    if (identity) return watchIdentity(ctx, identity, stops, () => end('reconnect'));
    const signOut = tokens.signOutOf(session);
    stops.push(revocations.onEnded(session, signOut, () => end('revoked')));
    // The session may have been ended after it was read and before the listener was added.
    if (revocations.has(session, signOut)) return end('revoked');
    // With an idle timeout, another tab or process may have renewed the session in the meantime.
    const newerExpiry = async (): Promise<number> =>
      idleTimeout === undefined ? 0 : sessions.expiryOf(session);
    const isSameUser = async (): Promise<boolean> => {
      await revocations.ready();
      return users.unchanged(session, tokens.versionOf(session));
    };
    const onChanged: End = (reason) => {
      if (reason === 'revoked') log.found(requestInfo(ctx), session, 'user_changed');
      end(reason);
    };
    stops.push(
      atExpiry(session, newerExpiry, end),
      whenUserChanges(isSameUser, users.onChanged, onChanged),
    );
  };

  const watchIdentity = async (
    ctx: Context,
    identity: RequestIdentity,
    stops: (() => void)[],
    reconnect: () => void,
  ): Promise<void> => {
    const { session, strategy } = identity;
    await revocations.ready();
    const signOut = revocations.knownSignOut(session.strategy, session.username);
    stops.push(revocations.onEnded(session, signOut, reconnect));
    if (strategy.ambient || !requests) {
      const timer = setTimeout(reconnect, identityLifetime).unref();
      stops.push(() => clearTimeout(timer));
    } else {
      const isSame = (): Promise<boolean> => requests.isSame(ctx, identity);
      stops.push(whenUserChanges(isSame, users.onChanged, reconnect));
    }
  };

  return function endSignal(ctx: Context): AbortSignal {
    const controller = new AbortController();
    const stops: (() => void)[] = [];
    let closed = false;
    const stopAll = (): void => {
      for (const stop of stops.splice(0)) stop();
    };
    const end: End = (reason) => {
      stopAll();
      controller.abort(reason);
    };
    ctx.res.once('close', () => {
      closed = true;
      stopAll();
    });
    // If the store cannot say whether the session is valid, the stream ends. A request would fail
    // too. The request may have closed before the watchers were added.
    watch(ctx, stops, end).then(
      () => closed && stopAll(),
      () => end('unavailable'),
    );
    return catchListenerErrors(controller.signal, (err) =>
      logger.error({ err: errorFields(err) }, 'a listener of the end of a session failed'),
    );
  };
}

function atExpiry(session: Session, newerExpiry: () => Promise<number>, end: End): () => void {
  const now = forwardClock();
  let timer: NodeJS.Timeout | undefined;
  const waitUntil = (time: number): void => {
    const left = time - now();
    if (left <= 0) over(time);
    else timer = setTimeout(() => waitUntil(time), Math.min(left, longestTimer)).unref();
  };
  const over = (time: number): void => {
    newerExpiry().then(
      (newer) => (newer > time ? waitUntil(newer) : end('expired')),
      () => end('unavailable'),
    );
  };
  waitUntil(session.expiresAt.getTime());
  return () => clearTimeout(timer);
}

function whenUserChanges(
  isSameUser: () => Promise<boolean>,
  onChanged: KnownUsers['onChanged'],
  end: End,
): () => void {
  const check = (): void => {
    isSameUser().then(
      (same) => {
        if (!same) end('revoked');
      },
      () => end('unavailable'),
    );
  };
  const timer = setInterval(check, checkInterval).unref();
  const stop = onChanged(check);
  return () => {
    clearInterval(timer);
    stop();
  };
}
