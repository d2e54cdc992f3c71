/** A value in the store: any JSON value. */
export type StoreValue =
  | string
  | number
  | boolean
  | null
  | readonly StoreValue[]
  | { readonly [key: string]: StoreValue };

/** A key and its present value. */
export interface StoreEntry {
  key: string;
  value: StoreValue;
  /** When the entry expires; Unix milliseconds. */
  expiresAt: number;
}

/** Marks an entry that a full store may drop to make room for another entry. */
export interface Droppable {
  /**
   * Entries of the lowest rank are dropped first. Within a rank, the oldest entry is dropped first.
   */
  rank: number;
  /** The entry is not dropped before this time; Unix milliseconds. */
  notBefore: number;
}

/** Options of {@link SharedStore.watch}. */
export interface WatchOptions {
  /**
   * Whether the first list contains the existing entries. Default `true`. If `false`, the first
   * list is empty, for a caller that reads the entries with `list`.
   */
  list?: boolean | undefined;
}

/** A page of a log. */
export interface LogPage {
  /** The entries, newest first. */
  items: readonly StoreValue[];
  nextCursor: string | null;
}

/**
 * The port through which several processes share sessions, revocations, throttle counts and the
 * audit log. Each engine has an implementation (SQLite, Redis). {@link memoryStore} serves a single
 * process. If the store is unreachable, every method rejects: a store that cannot answer must not
 * look like an empty store.
 */
export interface SharedStore {
  /** Returns the value, or `undefined` if the key has no value or the value has expired. */
  get(key: string): Promise<StoreValue | undefined>;
  /**
   * Stores a value for `ttl` seconds. Resolves when the value is as durable as the store can make
   * it.
   */
  set(key: string, value: StoreValue, ttl: number): Promise<void>;
  /**
   * Sets the value in one atomic step for all processes, but only if the present value is `before`.
   * A `before` of `undefined` means that the key must have no value. The value `undefined` deletes
   * the entry without notifying watchers. Resolves to `false` if the present value differs.
   *
   * `droppable` matters only to a store with a limited size. Such a store drops droppable entries
   * before any other entry. It rejects if every entry is droppable and none may be dropped yet.
   */
  replace(
    key: string,
    before: StoreValue | undefined,
    value: StoreValue | undefined,
    ttl: number,
    droppable?: Droppable,
  ): Promise<boolean>;
  /**
   * Adds one to a number and resolves to the new number. The first call sets the expiry to `ttl`
   * seconds from then. Later calls do not extend it.
   */
  increment(key: string, ttl: number): Promise<number>;
  /**
   * Adds an entry to the end of a log and keeps it for `ttl` seconds. A full store may drop the
   * oldest entries sooner.
   */
  append(log: string, entry: StoreValue, ttl: number): Promise<void>;
  /** Reads a page of a log, newest first. `limit` is 50 by default. */
  page(log: string, cursor?: string, limit?: number): Promise<LogPage>;
  /**
   * Reads at most `limit` entries whose keys begin with `prefix` and come after the key `after`, in
   * the key order of the store. An empty list means that there are no more entries. The cost
   * depends on `limit`, not on the number of keys.
   */
  list(prefix: string, after: string | undefined, limit: number): Promise<readonly StoreEntry[]>;
  /**
   * Follows all keys that begin with `prefix`. The first list contains the existing entries and may
   * be empty. Then a list follows for each change, within a second, whichever process made it. No
   * change is lost between the first list and the following ones. The iteration ends when `signal`
   * aborts or the store closes.
   */
  watch(
    prefix: string,
    signal: AbortSignal,
    options?: WatchOptions,
  ): AsyncIterable<readonly StoreEntry[]>;
  /**
   * Claims the entries of the login at this path. `owners` are check values of its secret keys, the
   * newest first, or none. If the entries belong to a login without a common key, every method
   * rejects. Returns a function that each request of the login calls. It returns `undefined` if the
   * entries belong to this login, and otherwise a promise that rejects if they belong to another
   * one. A login calls it again when its keys change. Only for a store that several apps can reach.
   */
  claim?(path: string, owners: readonly string[]): () => Promise<void> | undefined;
}
