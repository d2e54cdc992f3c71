import type { SharedStore, StoreEntry, StoreValue } from '../../store/shared-store.js';
import { forwardClock } from '../forward-clock.js';
import { storeUnavailable } from '../time-limit.js';
import { followStore } from './follow-store.js';
import type { Session } from './session.js';
import { clockSkew } from './tokens.js';

/** The fields of a session that decide whether it was ended. */
type Revocable = Pick<Session, 'id' | 'strategy' | 'username' | 'authenticatedAt'>;

/**
 * The sessions that were ended before they expired, as far as this process knows.
 *
 * `followStore` keeps a copy of the revocations in memory, so that a check needs no round trip to
 * the store. A revoked session is one entry with its id as the key. A sign-out everywhere is one
 * entry of the user with a cut-off time: it ends every session whose login began before. The
 * cut-off lies one minute ahead, so that it also covers sessions of a host whose clock is fast. It
 * would also cover logins soon after the sign-out. Such a login stores the cut-off as the number of
 * the sign-out that it follows, and is exempt.
 */
export interface Revocations {
  /**
   * Whether the session was ended. `signOut` is the sign-out everywhere that its login follows, or
   * 0. Throws STORE_UNAVAILABLE if the copy of the store is incomplete.
   */
  has(session: Revocable, signOut: number): boolean;
  /**
   * Returns `undefined` if `has` may be called. Otherwise, resolves when it may be called, and
   * rejects with STORE_UNAVAILABLE if the store fails or is slow.
   */
  ready(): Promise<void> | undefined;
  /**
   * Ends one session in all processes. `expiresAt` is when its last token expires. The entry is
   * kept until then. Resolves when the store has recorded it.
   */
  end(id: string, expiresAt: Date): Promise<void>;
  /**
   * Ends all sessions of a user whose login began before now. Resolves when the store has recorded
   * it.
   */
  endAll(strategy: string, username: string): Promise<void>;
  /**
   * Resolves to the last sign-out everywhere of a user, or to 0. Asks the store, because another
   * process may have signed the user out a moment ago. The store keeps a sign-out for 180 days, or
   * for `tokenExpiry` if that is longer.
   */
  lastSignOut(strategy: string, username: string): Promise<number>;
  /** Returns the last sign-out everywhere of a user that this process knows, or 0. */
  knownSignOut(strategy: string, username: string): number;
  /**
   * Calls the listener when any process ends the session. Returns a function that stops listening.
   */
  onEnded(session: Revocable, signOut: number, listener: () => void): () => void;
}

interface RevocationsDeps {
  store: SharedStore;
  /** Prefix of all revocation keys in the store. */
  prefix: string;
  /** Maximum number of seconds that a session lasts. */
  tokenExpiry: number;
  now: () => number;
}

/** Milliseconds for which a sign-out everywhere is kept. Device cookies last equally long. */
const signOutKept = 180 * 86_400_000;
/** Maximum number of attempts to change an entry that other processes change at the same time. */
const maxRaces = 100;

const keyOf = {
  id: (id: string): string => `id:${id}`,
  user: (strategy: string, username: string): string => `user:${strategy}:${sameUser(username)}`,
};

/**
 * Returns a name without case, width and invisible characters. A strategy may accept `ALICE` for
 * `alice` and return the name as typed. Sessions are then open under both names, and a sign-out
 * everywhere must end them all. If the strategy treats the names as two users, both are signed out.
 * The version of a user cannot distinguish these cases, because two users may have the same
 * version.
 */
export function sameUser(username: string): string {
  return username
    .normalize('NFKC')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toLowerCase()
    .trim();
}

/**
 * Makes the revocations of a login. An entry is dropped when its sessions would have expired
 * anyway, and not before.
 */
export function followRevocations({
  store,
  prefix,
  tokenExpiry,
  now,
}: RevocationsDeps): Revocations {
  /**
   * Entries by session id or user: when the entry may be dropped, and the cut-off time of a user.
   */
  const revoked = new Map<string, { expiresAt: number; upTo: number; read: number }>();
  const listeners = new Map<string, Set<() => void>>();
  let users = 0;
  const ages = forwardClock(now);
  let sweptAt = ages();
  /** Number of complete reads of the store that have begun. */
  let reads = 0;

  const note = (key: string, expiresAt: number, upTo: number): void => {
    const before = revoked.get(key);
    if (!before && key.startsWith('user:')) users += 1;
    revoked.set(key, {
      expiresAt: Math.max(expiresAt, before?.expiresAt ?? 0),
      upTo: Math.max(upTo, before?.upTo ?? 0),
      read: before?.read ?? 0,
    });
    for (const listener of [...(listeners.get(key) ?? [])]) listener();
  };

  const sweep = (): void => {
    if (ages() - sweptAt < 60_000) return;
    sweptAt = ages();
    for (const [key, { expiresAt }] of revoked) {
      if (expiresAt > now()) continue;
      revoked.delete(key);
      if (key.startsWith('user:')) users -= 1;
    }
  };

  const take = (entries: readonly StoreEntry[]): void => {
    for (const { key, value, expiresAt } of entries) {
      note(key.slice(prefix.length), expiresAt, numberOr0(value));
      const entry = revoked.get(key.slice(prefix.length));
      if (entry) entry.read = reads;
    }
    sweep();
  };

  /**
   * Writes entries that the last complete read did not find. The store has lost them or could not
   * store them.
   */
  const restore = async (): Promise<void> => {
    for (const [key, { read, expiresAt, upTo }] of revoked) {
      const ttl = (expiresAt - now()) / 1000;
      if (read < reads && ttl > 0) await store.replace(prefix + key, undefined, upTo, ttl);
    }
  };

  const follower = followStore({
    ...{ store, prefix, take },
    begun: () => {
      reads += 1;
    },
    // If this fails, the next complete read tries again.
    complete: () => void restore().catch(() => undefined),
  });

  const has = (
    { id, strategy, username, authenticatedAt }: Revocable,
    signOut: number,
  ): boolean => {
    if (revoked.size === 0) return false;
    if (revoked.has(keyOf.id(id))) return true;
    const ended = users > 0 ? revoked.get(keyOf.user(strategy, username)) : undefined;
    return ended !== undefined && authenticatedAt.getTime() <= ended.upTo && signOut < ended.upTo;
  };

  const end = async (id: string, expiresAt: number): Promise<void> => {
    const ttl = (expiresAt - now()) / 1000;
    if (ttl <= 0) return;
    // The entry is noted first, so that the session ends in this process even if the store fails.
    note(keyOf.id(id), expiresAt, 0);
    sweep();
    await store.set(prefix + keyOf.id(id), 0, ttl);
  };

  const lastSignOut = async (key: string): Promise<number> => {
    const stored = await store.get(prefix + key);
    return Math.max(numberOr0(stored), revoked.get(key)?.upTo ?? 0);
  };

  const endAll = async (key: string): Promise<void> => {
    const ttl = Math.max(signOutKept, (tokenExpiry + clockSkew) * 1000);
    const ending = (before: number): number => Math.max(now() + clockSkew * 1000, before + 1);
    note(key, now() + ttl, ending(revoked.get(key)?.upTo ?? 0));
    sweep();
    // Simultaneous sign-outs get different numbers. A login that follows one of them is then not
    // exempt from the others.
    for (let race = 0; race < maxRaces; race++) {
      const before = await store.get(prefix + key);
      const upTo = ending(Math.max(numberOr0(before), (revoked.get(key)?.upTo ?? 0) - 1));
      if (!(await store.replace(prefix + key, before, upTo, ttl / 1000))) continue;
      note(key, now() + ttl, upTo);
      return;
    }
    throw storeUnavailable();
  };

  return {
    has(session, signOut) {
      if (!follower.following) throw storeUnavailable();
      return has(session, signOut);
    },
    ready: () => follower.ready(),
    end: (id, expiresAt) => end(id, expiresAt.getTime()),
    endAll: (strategy, username) => endAll(keyOf.user(strategy, username)),
    lastSignOut: (strategy, username) => lastSignOut(keyOf.user(strategy, username)),
    knownSignOut: (strategy, username) => revoked.get(keyOf.user(strategy, username))?.upTo ?? 0,
    onEnded(session, signOut, listener) {
      const keys = [keyOf.id(session.id), keyOf.user(session.strategy, session.username)];
      const call = (): void => {
        if (has(session, signOut)) listener();
      };
      for (const key of keys) listeners.set(key, (listeners.get(key) ?? new Set()).add(call));
      return () => {
        for (const key of keys) {
          const set = listeners.get(key);
          set?.delete(call);
          if (set?.size === 0) listeners.delete(key);
        }
      };
    },
  };
}

function numberOr0(value: StoreValue | undefined): number {
  return typeof value === 'number' ? value : 0;
}
