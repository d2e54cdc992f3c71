import { LRUCache } from 'lru-cache';
import type { SharedStore } from '../../store/shared-store.js';
import { forwardClock } from '../forward-clock.js';
import type { RequestInfo } from '../request-info.js';
import type { Session } from './session.js';
import type { Tokens } from './tokens.js';

/** The stored data of an open session. It does not contain the token. */
export interface SessionRecord {
  id: string;
  username: string;
  strategy: string;
  /** When the login began. All times are Unix milliseconds. */
  startedAt: number;
  lastUsedAt: number;
  /** When its newest token expires. */
  expiresAt: number;
  /** The last `signOutEverywhere` of the user before this login. Absent if there was no call. */
  signOut?: number;
  /** The claim `sv` of its tokens. Absent if the strategy has no `find_user`. */
  version?: string;
  /** Address and browser of the request that last used the session. */
  ip: string;
  userAgent: string;
}

interface SessionListDeps {
  store: SharedStore;
  prefix: string;
  /** Has read or signed each session that is recorded. */
  tokens: Pick<Tokens, 'versionOf' | 'signOutOf'>;
  now: () => number;
}

/** The address and the browser that use a session. */
type UsedFrom = Pick<RequestInfo, 'ip' | 'userAgent'>;

/**
 * The list of open sessions in the store. Users see and end their sessions with it. Tokens are
 * valid even if the list does not contain their session.
 */
export interface SessionList {
  /**
   * Records a new session, or a session with a new token. Resolves when the store has recorded it.
   */
  put(session: Session, from: UsedFrom): Promise<void>;
  /**
   * Records that a session is in use, at most once a minute. If the store fails, the request still
   * succeeds.
   */
  touch(session: Session, from: () => UsedFrom): void;
  /**
   * Returns the sessions of a user, of one strategy or of all strategies, the most recently used
   * first. Reads at most 10,000 records.
   */
  of(username: string, strategy: string | undefined): Promise<readonly SessionRecord[]>;
  /** Returns one session of a user, or `undefined`. */
  find(user: Pick<Session, 'username' | 'strategy' | 'id'>): Promise<SessionRecord | undefined>;
  /**
   * Removes the records of sessions that have ended, at most 100 per call. Without this, they would
   * stay until their token expires.
   */
  forget(records: readonly SessionRecord[]): void;
  /**
   * Returns when the newest recorded token of a session expires, in Unix milliseconds. Returns 0 if
   * the list does not contain the session.
   */
  expiryOf(session: Session): Promise<number>;
}

const minute = 60_000;
/** Maximum number of records per read, and in total. */
const [batchSize, maxListed] = [1000, 10_000];
/**
 * Maximum number of records that one call removes, so that a read does not cause hundreds of
 * writes.
 */
const maxForgotten = 100;

/**
 * Makes the list of open sessions in the store under `prefix`. Each record is kept until its
 * session expires.
 */
export function sessionList({ store, prefix, tokens, now }: SessionListDeps): SessionList {
  const touched = new LRUCache<string, number>({ max: 100_000 });
  const ages = forwardClock(now);
  const userPrefix = (username: string): string => `${prefix}${encodeURIComponent(username)}:`;
  const keyOf = ({
    username,
    strategy,
    id,
  }: Pick<Session, 'username' | 'strategy' | 'id'>): string =>
    `${userPrefix(username)}${strategy}:${id}`;

  const write = async (session: Session, { ip, userAgent }: UsedFrom): Promise<void> => {
    const [signOut, version] = [tokens.signOutOf(session), tokens.versionOf(session)];
    const { id, username, strategy, authenticatedAt, expiresAt } = session;
    touched.set(id, ages());
    const record: SessionRecord = {
      id,
      username,
      strategy,
      startedAt: authenticatedAt.getTime(),
      lastUsedAt: now(),
      expiresAt: expiresAt.getTime(),
      ...(signOut > 0 && { signOut }),
      ...(version !== '' && { version }),
      ip,
      userAgent: userAgent.slice(0, 256),
    };
    const left = (record.expiresAt - now()) / 1000;
    if (left > 0) await store.set(keyOf(session), { ...record }, left);
  };
  const find = async (
    user: Pick<Session, 'username' | 'strategy' | 'id'>,
  ): Promise<SessionRecord | undefined> =>
    (await store.get(keyOf(user))) as SessionRecord | undefined;

  return {
    put: write,
    touch(session, from) {
      const last = touched.get(session.id);
      if (last !== undefined && ages() - last < minute) return;
      write(session, from()).catch(() => touched.delete(session.id));
    },
    async of(username, strategy) {
      const under =
        strategy === undefined ? userPrefix(username) : `${userPrefix(username)}${strategy}:`;
      const records: SessionRecord[] = [];
      for (let after: string | undefined; records.length < maxListed; ) {
        const entries = await store.list(under, after, batchSize);
        const last = entries.at(-1);
        if (!last) break;
        records.push(...entries.map(({ value }) => value as unknown as SessionRecord));
        after = last.key;
      }
      return records.sort(
        (one, other) =>
          other.lastUsedAt - one.lastUsedAt ||
          other.startedAt - one.startedAt ||
          (one.id < other.id ? -1 : 1),
      );
    },
    find,
    forget(records) {
      const remove = async (record: SessionRecord): Promise<unknown> =>
        store.replace(keyOf(record), { ...record }, undefined, 1);
      for (const record of records.slice(0, maxForgotten)) remove(record).catch(() => {});
    },
    async expiryOf(session) {
      return (await find(session))?.expiresAt ?? 0;
    },
  };
}
