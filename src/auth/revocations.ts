import type { SharedStore, StoreEntry } from '../store/shared-store.js';
import type { Session } from './session.js';
import { askStore, storeUnavailable } from './time-limit.js';

/** The sessions that were ended before their time, as this process knows them. */
export interface Revocations {
  /** Whether the session was ended. Answers at once; throws STORE_UNAVAILABLE when the store cannot say. */
  has(session: Session): boolean;
  /** Resolves once `has` may be asked; rejects with STORE_UNAVAILABLE when the store does not answer in time. */
  ready(): Promise<void> | undefined;
  /** Ends one session for all processes, until `expiresAt`, after which no token of it can hold. Resolves when the store has it. */
  end(id: string, expiresAt: Date): Promise<void>;
  /** Ends all sessions of a user for which the password was checked until now. Resolves when the store has it. */
  endAll(strategy: string, username: string): Promise<void>;
  /** A time for a new login of that user, later than whatever ended the sessions before. */
  loginTime(strategy: string, username: string): Date;
  /** Calls once when that session is ended, by any process. Returns the way to stop listening. */
  onEnded(session: Session, listener: () => void): () => void;
}

interface RevocationsParts {
  store: SharedStore;
  /** Of all its keys in the store. */
  prefix: string;
  /** Seconds that a session lasts at most. */
  tokenExpiry: number;
  now: () => number;
}

const keyOf = {
  id: (id: string): string => `id:${id}`,
  user: (strategy: string, username: string): string => `user:${strategy}:${username}`,
};

/**
 * Follows the revocations of a store, so that checking one costs no trip to it. The list holds no more than the store
 * does: an entry is dropped when its session would have ended anyway, and not before.
 */
export function followRevocations({ store, prefix, tokenExpiry, now }: RevocationsParts): Revocations {
  /** By id of a session or by user: until when it matters; and up to which login it ends the sessions of a user. */
  const revoked = new Map<string, { expiresAt: number; upTo: number }>();
  const listeners = new Map<string, Set<() => void>>();
  let users = 0;
  let state: 'idle' | 'starting' | 'following' = 'idle';
  let started: Promise<void> | undefined;
  let sweptAt = now();

  const note = (key: string, expiresAt: number, upTo: number): void => {
    const before = revoked.get(key);
    if (!before && key.startsWith('user:')) users += 1;
    revoked.set(key, { expiresAt: Math.max(expiresAt, before?.expiresAt ?? 0), upTo: Math.max(upTo, before?.upTo ?? 0) });
    for (const listener of [...(listeners.get(key) ?? [])]) listener();
  };

  const sweep = (): void => {
    if (now() - sweptAt < 60_000) return;
    sweptAt = now();
    for (const [key, { expiresAt }] of revoked) {
      if (expiresAt > now()) continue;
      revoked.delete(key);
      if (key.startsWith('user:')) users -= 1;
    }
  };

  const take = (entries: readonly StoreEntry[]): void => {
    for (const { key, value, expiresAt } of entries) note(key.slice(prefix.length), expiresAt, typeof value === 'number' ? value : 0);
    sweep();
  };

  /** Follows until the store fails or ends; whoever asks next starts it anew. */
  const follow = async (signal: AbortSignal, onFirst: () => void): Promise<void> => {
    for await (const entries of store.watch(prefix, signal)) {
      // Whoever waited for it has given up; another watch may be under way.
      if (signal.aborted) return;
      take(entries);
      state = 'following';
      onFirst();
    }
  };

  const start = async (): Promise<void> => {
    state = 'starting';
    const controller = new AbortController();
    const lost = (): void => {
      state = 'idle';
      controller.abort();
    };
    try {
      await askStore(
        () =>
          new Promise<void>((resolve, reject) => {
            follow(controller.signal, resolve).then(
              () => {
                lost();
                reject(new Error('the store closed'));
              },
              (error: unknown) => {
                lost();
                reject(error);
              },
            );
          }),
      );
    } catch (error) {
      lost();
      throw error;
    }
  };

  const has = ({ id, strategy, username, authenticatedAt }: Session): boolean => {
    if (revoked.size === 0) return false;
    if (revoked.has(keyOf.id(id))) return true;
    const ended = users > 0 ? revoked.get(keyOf.user(strategy, username)) : undefined;
    return ended !== undefined && authenticatedAt.getTime() <= ended.upTo;
  };

  const add = async (key: string, expiresAt: number, upTo: number): Promise<void> => {
    const ttl = (expiresAt - now()) / 1000;
    if (ttl <= 0) return;
    // At once here, whatever the store does: a logout that cannot be stored still ends the session in this process.
    note(key, expiresAt, upTo);
    sweep();
    await askStore(() => store.set(prefix + key, upTo, ttl));
  };

  return {
    has(session) {
      if (state !== 'following') throw storeUnavailable();
      return has(session);
    },
    ready() {
      if (state === 'following') return undefined;
      if (state === 'idle') started = start();
      return started;
    },
    end: (id, expiresAt) => add(keyOf.id(id), expiresAt.getTime(), 0),
    endAll: (strategy, username) => add(keyOf.user(strategy, username), now() + tokenExpiry * 1000, now()),
    loginTime: (strategy, username) => new Date(Math.max(now(), (revoked.get(keyOf.user(strategy, username))?.upTo ?? 0) + 1)),
    onEnded(session, listener) {
      const keys = [keyOf.id(session.id), keyOf.user(session.strategy, session.username)];
      const call = (): void => {
        if (has(session)) listener();
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
