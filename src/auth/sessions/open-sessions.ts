import type { AuthLog } from '../auth-log.js';
import type { RequestInfo } from '../request-info.js';
import type { KnownUsers } from '../strategies/known-users.js';
import type { Revocations } from './revocations.js';
import { endOf, type Session } from './session.js';
import type { SessionList, SessionRecord } from './session-list.js';
import type { Tokens } from './tokens.js';

/*
 * The session list records which sessions were opened. Tokens and revocations decide which of them
 * are still open. This file combines them, and ends sessions in the list and in the revocations.
 */

/** The user whose sessions are requested. */
export interface Subject {
  username: string;
  /** Absent for every strategy. */
  strategy: string | undefined;
}

/**
 * Maximum number of sessions that one login ends. After an upgrade, or with a lower limit, a user
 * may have far more sessions than allowed.
 */
const maxEnded = 100;

/** Milliseconds within which two logins count as simultaneous. */
const simultaneous = 60_000;

interface OpenSessionsDeps {
  list: Pick<SessionList, 'of' | 'find' | 'forget'>;
  users: Pick<KnownUsers, 'unchanged'>;
  tokens: Pick<Tokens, 'isCurrent' | 'signOutOf'>;
  revocations: Pick<Revocations, 'has' | 'end'>;
  log: Pick<AuthLog, 'found'>;
  /** Seconds a session lasts from its login. */
  tokenExpiry: number;
  /** Maximum number of open sessions of a user. */
  maxSessions: number;
}

/** The open sessions of users. */
export class OpenSessions {
  readonly #deps: OpenSessionsDeps;

  constructor(deps: OpenSessionsDeps) {
    this.#deps = deps;
  }

  /**
   * Returns the open sessions of a user, the most recently used first. Removes the records of
   * sessions that have ended, and of those whose user has changed: another person may have the name
   * now.
   */
  async of({ username, strategy }: Subject): Promise<SessionRecord[]> {
    const { list } = this.#deps;
    const records = await list.of(username, strategy);
    const isUnchanged = await this.#unchangedAmong(records);
    const ended = new Set(
      records.filter((record) => !this.#isOpen(record) || !isUnchanged(record)),
    );
    list.forget([...ended]);
    return records.filter((record) => !ended.has(record));
  }

  /** Returns whether the user of each record is still the same, as far as the strategy can tell. */
  async #unchangedAmong(
    records: readonly SessionRecord[],
  ): Promise<(record: SessionRecord) => boolean> {
    const changed = new Set<string>();
    const keyOf = ({ strategy, version = '' }: SessionRecord): string => `${strategy} ${version}`;
    const distinct = new Map(records.map((record) => [keyOf(record), record]));
    for (const [key, { strategy, username, version }] of distinct) {
      if (version === undefined) continue;
      try {
        const user = { strategy, username };
        if (!(await this.#deps.users.unchanged(user, version))) changed.add(key);
      } catch {
        // A session whose user is not known at present stays in the list.
      }
    }
    return (record) => !changed.has(keyOf(record));
  }

  /** Returns one open session of a user, or `undefined`. */
  async find(
    user: Pick<Session, 'username' | 'strategy' | 'id'>,
  ): Promise<SessionRecord | undefined> {
    const found = await this.#deps.list.find(user);
    return found && this.#isOpen(found) ? found : undefined;
  }

  /** Ends one session in all processes. Resolves when the store has recorded it. */
  async end(record: SessionRecord): Promise<void> {
    await this.#revoke(record);
    this.#deps.list.forget([record]);
  }

  /** Whether a session that was read or signed in this process was ended. */
  hasEnded(session: Session): boolean {
    const { revocations, tokens } = this.#deps;
    return revocations.has(session, tokens.signOutOf(session));
  }

  /**
   * Ends the sessions of a user beyond `maxSessions`, the least recently used first. The caller has
   * already added the new session to the list. So the last of several simultaneous logins sees all
   * of them.
   */
  async endSurplus(opened: Session, request: RequestInfo): Promise<void> {
    const { list, log, maxSessions } = this.#deps;
    const open = await this.of(opened);
    const own = open.findIndex(({ id }) => id === opened.id);
    // A later login has already ended this session and counts all other sessions itself.
    if (this.hasEnded(opened)) return;
    const others = open.filter(({ id }) => id !== opened.id);
    // Two simultaneous logins may see each other. Only the later one ends the session of the
    // earlier one.
    const willEndThisOne = (record: SessionRecord): boolean =>
      open.indexOf(record) < own &&
      record.startedAt > opened.authenticatedAt.getTime() - simultaneous;
    const surplus = others
      .slice(maxSessions - 1)
      .filter((record) => !willEndThisOne(record))
      .slice(-maxEnded);
    await Promise.all(
      surplus.map(async (record) => {
        await this.#revoke(record);
        log.found(request, asSession(record), 'max_sessions');
      }),
    );
    list.forget(surplus);
  }

  #revoke(record: SessionRecord): Promise<void> {
    const { revocations, tokenExpiry } = this.#deps;
    return revocations.end(record.id, endOf(asSession(record), tokenExpiry));
  }

  /** Whether a session has neither expired nor been ended. */
  #isOpen(record: SessionRecord): boolean {
    const { tokens, revocations } = this.#deps;
    const session = asSession(record);
    return tokens.isCurrent(session) && !revocations.has(session, record.signOut ?? 0);
  }
}

function asSession({ id, username, strategy, startedAt, expiresAt }: SessionRecord): Session {
  const at = new Date(startedAt);
  return {
    id,
    username,
    strategy,
    roles: [],
    issuedAt: at,
    authenticatedAt: at,
    expiresAt: new Date(expiresAt),
  };
}
