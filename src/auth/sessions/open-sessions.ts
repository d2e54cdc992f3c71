import type { Context } from 'koa';
import type { AuthParts } from '../create-auth.js';
import { endOf, type Session } from './session.js';
import type { SessionRecord } from './session-list.js';

/** Whose sessions are meant. */
export interface Subject {
  username: string;
  /** Absent: of every strategy. */
  strategy: string | undefined;
}

/** The most sessions that one login ends: after an upgrade, or with a lower limit, a user may have far more than allowed. */
const maxEnded = 100;

/** Returns the open sessions of a user, the most recently used first, and removes the records of sessions that have ended. */
export async function openSessions(parts: AuthParts, { username, strategy }: Subject): Promise<SessionRecord[]> {
  const records = await parts.sessions.of(username, strategy);
  const ended = new Set(records.filter((record) => !isOpen(parts, record)));
  parts.sessions.forget([...ended]);
  return records.filter((record) => !ended.has(record));
}

/** Whether a session has neither expired nor been ended. */
export function isOpen({ tokens, revocations }: AuthParts, record: SessionRecord): boolean {
  return tokens.isCurrent(asSession(record)) && !revocations.has(asSession(record), record.signOut ?? 0);
}

/** Milliseconds within which logins count as made at once. */
const atOnce = 60_000;

/**
 * Ends the sessions of a user beyond `maxSessions`, the least recently used first. The new session is listed before this, so
 * that the last of several simultaneous logins counts all of them.
 */
export async function endSurplusSessions(ctx: Context, parts: AuthParts, opened: Session): Promise<void> {
  const { revocations, sessions, tokens, log, tokenExpiry, maxSessions } = parts;
  const open = await openSessions(parts, opened);
  const own = open.findIndex(({ id }) => id === opened.id);
  // A later login has ended this one already, and counts all others itself.
  if (revocations.has(opened, tokens.signOutOf(opened))) return;
  const others = open.filter(({ id }) => id !== opened.id);
  // Of two logins at once that see each other, the later one ends the earlier one, and not both each other.
  const willEndThisOne = (record: SessionRecord): boolean =>
    open.indexOf(record) < own && record.startedAt > opened.authenticatedAt.getTime() - atOnce;
  const surplus = others
    .slice(maxSessions - 1)
    .filter((record) => !willEndThisOne(record))
    .slice(-maxEnded);
  await Promise.all(
    surplus.map(async (record) => {
      await revocations.end(record.id, endOf(asSession(record), tokenExpiry));
      log.found(ctx, asSession(record), 'max_sessions');
    }),
  );
  sessions.forget(surplus);
}

function asSession({ id, username, strategy, startedAt, expiresAt }: SessionRecord): Session {
  const at = new Date(startedAt);
  return { id, username, strategy, roles: [], issuedAt: at, authenticatedAt: at, expiresAt: new Date(expiresAt) };
}
