import { TaskflowError } from '../errors.js';
import type { SharedStore, StoreEntry } from '../store/shared-store.js';

const prefix = 'revoked:';
/** Seconds to wait for the store before a request is refused. */
const patience = 1;

/** The sessions that were ended before their time, as this process knows them. */
export interface Revocations {
  /** Whether the session was ended. Answers at once; throws STORE_UNAVAILABLE when the store cannot say. */
  has(id: string): boolean;
  /** Resolves once `has` may be asked; rejects with STORE_UNAVAILABLE when the store does not answer in time. */
  ready(): Promise<void> | undefined;
  /** Ends a session for all processes; resolves when the store has it. `expiresAt` is the session's own end. */
  add(id: string, expiresAt: Date): Promise<void>;
  /** Calls once when that session is ended, by any process. Returns the way to stop listening. */
  onRevoked(id: string, listener: () => void): () => void;
}

/**
 * Follows the revocations of a store, so that checking one costs no trip to it. The list holds no more than the store
 * does: an entry is dropped when its session would have ended anyway.
 */
export function followRevocations(store: SharedStore, now: () => number): Revocations {
  const revoked = new Map<string, number>();
  const listeners = new Map<string, Set<() => void>>();
  let state: 'idle' | 'starting' | 'following' = 'idle';
  let started: Promise<void> | undefined;
  let sweptAt = now();

  const note = (id: string, expiresAt: number): void => {
    revoked.set(id, expiresAt);
    for (const listener of listeners.get(id) ?? []) listener();
    listeners.delete(id);
  };

  const take = (entries: readonly StoreEntry[]): void => {
    for (const { key, expiresAt } of entries) note(key.slice(prefix.length), expiresAt);
    if (now() - sweptAt < 60_000) return;
    sweptAt = now();
    for (const [id, expiresAt] of revoked) if (expiresAt <= now()) revoked.delete(id);
  };

  /** Follows until the store fails or ends; whoever asks next starts it anew. */
  const follow = async (signal: AbortSignal, onFirst: () => void): Promise<void> => {
    for await (const entries of store.watch(prefix, signal)) {
      take(entries);
      state = 'following';
      onFirst();
    }
  };

  const start = (): Promise<void> => {
    state = 'starting';
    const controller = new AbortController();
    return new Promise((resolve, reject) => {
      const unavailable = (cause?: unknown): void => {
        state = 'idle';
        controller.abort();
        reject(new TaskflowError('STORE_UNAVAILABLE', 'the session store does not answer', { cause }));
      };
      const timer = setTimeout(() => unavailable(), patience * 1000);
      timer.unref();
      follow(controller.signal, () => {
        clearTimeout(timer);
        resolve();
      }).then(unavailable, unavailable);
    });
  };

  return {
    has(id) {
      if (state !== 'following') throw new TaskflowError('STORE_UNAVAILABLE', 'the session store does not answer');
      return revoked.has(id);
    },
    ready() {
      if (state === 'following') return undefined;
      if (state === 'idle') started = start();
      return started;
    },
    async add(id, expiresAt) {
      const ttl = (expiresAt.getTime() - now()) / 1000;
      if (ttl <= 0) return;
      // At once here, whatever the store does: a logout that cannot be stored still ends the session in this process.
      note(id, expiresAt.getTime());
      await store.set(prefix + id, true, ttl);
    },
    onRevoked(id, listener) {
      const set = listeners.get(id) ?? new Set();
      listeners.set(id, set.add(listener));
      return () => {
        set.delete(listener);
        if (set.size === 0 && listeners.get(id) === set) listeners.delete(id);
      };
    },
  };
}
