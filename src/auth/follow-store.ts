import { setImmediate } from 'node:timers/promises';
import { runInEmptyContext } from '../empty-context.js';
import type { SharedStore, StoreEntry } from '../store/shared-store.js';
import { askStore, storeUnavailable } from './time-limit.js';

/*
 * A copy of all entries under a prefix, kept up to date. Changes are listened to first; then what is already there is read in
 * batches, so that a long list neither blocks the event loop nor has to arrive within one time limit. If a batch fails, the next
 * request that needs the copy resumes after the last one. If the changes break off, some may have been missed, and the copy is
 * not complete until everything was read again; what it holds stays.
 */

/** Entries that are read at a time. */
const batchSize = 1000;

interface FollowParts {
  store: SharedStore;
  prefix: string;
  /** Gets all entries, each at least once, in any order. */
  take(entries: readonly StoreEntry[]): void;
}

/** Follows a part of a store. */
export interface Follower {
  /** Whether everything that the store had a moment ago was taken. */
  readonly following: boolean;
  /** `undefined` while following. Else resolves when it does; rejects with STORE_UNAVAILABLE if the store fails or is slow. */
  ready(): Promise<void> | undefined;
}

interface Watch {
  changes: AsyncIterator<readonly StoreEntry[]>;
  controller: AbortController;
  /** The last key that was read of what was there before. */
  after: string | undefined;
}

/** Begins at the first call of `ready`. */
export function followStore({ store, prefix, take }: FollowParts): Follower {
  let following = false;
  let watch: Watch | undefined;
  let loading: Promise<void> | undefined;

  const leave = (left: Watch): void => {
    if (watch === left) [watch, following] = [undefined, false];
    left.controller.abort();
    left.changes.return?.().catch(() => {});
  };

  /** Takes changes until they end. The next `ready` begins again. */
  const takeChanges = async (current: Watch): Promise<void> => {
    try {
      for (;;) {
        const { done, value } = await current.changes.next();
        if (done || watch !== current) break;
        take(value);
      }
    } catch {
      // The store has logged it, and the next request that needs an answer finds out.
    } finally {
      leave(current);
    }
  };

  const begin = async (): Promise<Watch> => {
    const controller = new AbortController();
    const changes = store.watch(prefix, controller.signal, { list: false })[Symbol.asyncIterator]();
    const begun: Watch = { changes, controller, after: undefined };
    try {
      const { done, value } = await askStore(() => changes.next());
      if (done) throw storeUnavailable(new Error('the store is closed'));
      take(value);
    } catch (error) {
      leave(begun);
      throw error;
    }
    watch = begun;
    void takeChanges(begun);
    return begun;
  };

  const load = async (): Promise<void> => {
    const current = watch ?? (await begin());
    for (;;) {
      const entries = await askStore(() => store.list(prefix, current.after, batchSize));
      if (watch !== current) throw storeUnavailable(new Error('the changes of the store broke off'));
      const last = entries.at(-1);
      if (!last) break;
      take(entries);
      current.after = last.key;
      await setImmediate();
    }
    following = true;
  };

  return {
    get following() {
      return following;
    },
    ready() {
      if (following) return undefined;
      // The copy is for all requests, and lives longer than the one that asks first.
      loading ??= runInEmptyContext(load).finally(() => {
        loading = undefined;
      });
      return loading;
    },
  };
}
