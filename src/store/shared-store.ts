/** What a value in the store may be: whatever JSON carries. */
export type StoreValue =
  | string
  | number
  | boolean
  | null
  | readonly StoreValue[]
  | { readonly [key: string]: StoreValue };

/** A key that was set, with its present value. */
export interface StoreEntry {
  key: string;
  value: StoreValue;
  /** Unix time in milliseconds at which the entry is forgotten. */
  expiresAt: number;
}

/** What a store that is full may drop to make room for another entry. */
export interface Droppable {
  /** The entries of the lowest rank are dropped first, the oldest of them before the others. */
  rank: number;
  /** The entry is never dropped before this time; Unix milliseconds. */
  notBefore: number;
}

/** How a store is watched. */
export interface WatchOptions {
  /**
   * Whether the first list holds the present entries. Default `true`. With `false` it is empty, for
   * a caller that reads `list`.
   */
  list?: boolean | undefined;
}

/** One page of a log. */
export interface LogPage {
  /** Newest first. */
  items: readonly StoreValue[];
  nextCursor: string | null;
}

/**
 * The port through which several processes act as one: sessions, revocations, throttle and audit.
 * An engine brings one (SQLite, Redis); {@link memoryStore} serves a single process. Every method
 * rejects when the store cannot be reached: "cannot tell" is never told as "no".
 */
export interface SharedStore {
  /** The value, or `undefined` when there is none or it has expired. */
  get(key: string): Promise<StoreValue | undefined>;
  /** Keeps a value for `ttl` seconds. Resolves when it is as durable as the store can make it. */
  set(key: string, value: StoreValue, ttl: number): Promise<void>;
  /**
   * Sets the value only if the present one is `before` (`undefined`: if there is none), in one step
   * for all processes. The value `undefined` deletes the entry without notifying watchers. Resolves
   * to `false` if another writer was quicker.
   *
   * `droppable` matters only to a store whose size is bounded: such a store drops droppable entries
   * before any other, and rejects if every entry is droppable and none may be dropped yet.
   */
  replace(
    key: string,
    before: StoreValue | undefined,
    value: StoreValue | undefined,
    ttl: number,
    droppable?: Droppable,
  ): Promise<boolean>;
  /**
   * Adds one and resolves to the new number. The first call starts the `ttl` (seconds); later ones
   * do not lengthen it.
   */
  increment(key: string, ttl: number): Promise<number>;
  /**
   * Adds an entry to the end of a log, kept for `ttl` seconds. A full store may drop the oldest
   * ones sooner.
   */
  append(log: string, entry: StoreValue, ttl: number): Promise<void>;
  /** Reads a log, newest first. `limit` is 50 by default. */
  page(log: string, cursor?: string, limit?: number): Promise<LogPage>;
  /**
   * Reads at most `limit` entries whose keys begin with `prefix` and come after the key `after`,
   * ordered by key as the store compares keys. An empty list is the end. Its cost depends on
   * `limit`, not on the number of keys.
   */
  list(prefix: string, after: string | undefined, limit: number): Promise<readonly StoreEntry[]>;
  /**
   * Follows all keys that begin with `prefix`: first one list of what is there now, which may be
   * empty, then a list for each change, made by any process, within a second. No change is missed
   * between the first list and the next. Ends when `signal` aborts or the store closes.
   */
  watch(
    prefix: string,
    signal: AbortSignal,
    options?: WatchOptions,
  ): AsyncIterable<readonly StoreEntry[]>;
  /**
   * Says that a login at this path uses the store. `owners` are check values of its secret keys,
   * the newest first, or none. If the entries of that path belong to a login without a key in
   * common, every method rejects. Returns a function that each request of the login calls: it
   * returns `undefined` if the entries are this login's, and otherwise a promise that rejects if
   * they are another's. Only for a store that several apps can reach.
   */
  claim?(path: string, owners: readonly string[]): () => Promise<void> | undefined;
}
