import { setImmediate } from 'node:timers/promises';
import { runInEmptyContext } from '../../empty-context.js';
import type { SharedStore, StoreEntry } from '../../store/shared-store.js';
import { askStore, storeUnavailable } from '../time-limit.js';

/*
 * Keeps a copy of all entries under a prefix up to date. The process first subscribes to changes.
 * Then it reads the existing entries in batches, so that a long list neither blocks the event loop
 * nor exceeds the time limit of one call. If a batch fails, the next request that needs the copy
 * resumes after the last entry that was read. If the subscription ends, changes may be lost. The
 * copy then keeps its entries, but is incomplete until all entries have been read again.
 */

/** Number of entries per read. */
const batchSize = 1000;

interface FollowDeps {
  store: Pick<SharedStore, 'list' | 'watch'>;
  prefix: string;
  /** Receives all entries, each at least once, in any order. */
  take(entries: readonly StoreEntry[]): void;
  /** Called when a complete read begins. */
  begun?(): void;
  /** Called when all entries of the store have been received since `begun`. */
  complete?(): void;
}

/** Follows a part of a store. */
export interface Follower {
  /** Whether the copy has every entry that the store had a moment ago. */
  readonly following: boolean;
  /**
   * Returns `undefined` if the copy is complete. Otherwise, resolves when it is complete, and
   * rejects with STORE_UNAVAILABLE if the store fails or is slow.
   */
  ready(): Promise<void> | undefined;
}

interface Watch {
  changes: AsyncIterator<readonly StoreEntry[]>;
  controller: AbortController;
  /** The last existing key that was read. */
  after: string | undefined;
}

/** Makes a follower, which starts at the first call of `ready`. */
export function followStore({ store, prefix, take, begun, complete }: FollowDeps): Follower {
  let following = false;
  let watch: Watch | undefined;
  let loading: Promise<void> | undefined;

  const leave = (left: Watch): void => {
    if (watch === left) [watch, following] = [undefined, false];
    left.controller.abort();
    // The store may belong to the app, and may throw here instead of rejecting.
    const end = async (): Promise<unknown> => left.changes.return?.();
    end().catch(() => {});
  };

  /** Receives changes until the subscription ends. The next call of `ready` starts again. */
  const takeChanges = async (current: Watch): Promise<void> => {
    try {
      for (;;) {
        const { done, value } = await current.changes.next();
        if (done || watch !== current) break;
        take(value);
      }
    } catch {
      // The store has logged the error. The next request that needs the copy fails or restarts the
      // subscription.
    } finally {
      leave(current);
    }
  };

  const begin = async (): Promise<Watch> => {
    begun?.();
    const controller = new AbortController();
    const changes = store.watch(prefix, controller.signal, { list: false })[Symbol.asyncIterator]();
    const starting: Watch = { changes, controller, after: undefined };
    try {
      const { done, value } = await askStore(() => changes.next());
      if (done) throw storeUnavailable(new Error('the store is closed'));
      take(value);
    } catch (error) {
      leave(starting);
      throw error;
    }
    watch = starting;
    void takeChanges(starting);
    return starting;
  };

  const load = async (): Promise<void> => {
    const current = watch ?? (await begin());
    for (;;) {
      const entries = await store.list(prefix, current.after, batchSize);
      if (watch !== current)
        throw storeUnavailable(new Error('the change stream of the store was interrupted'));
      const last = entries.at(-1);
      if (!last) break;
      take(entries);
      current.after = last.key;
      await setImmediate();
    }
    following = true;
    complete?.();
  };

  return {
    get following() {
      return following;
    },
    ready() {
      if (following) return undefined;
      // All requests use the copy, so it must not keep the context of the first one.
      loading ??= runInEmptyContext(load).finally(() => {
        loading = undefined;
      });
      return loading;
    },
  };
}
