/** What a value in the store may be: whatever JSON carries. */
export type StoreValue = string | number | boolean | null | readonly StoreValue[] | { readonly [key: string]: StoreValue };

/** A key that was set, with its present value. */
export interface StoreEntry {
  key: string;
  value: StoreValue;
  /** Unix time in milliseconds at which the entry is forgotten. */
  expiresAt: number;
}

/** One page of a log. */
export interface LogPage {
  /** Newest first. */
  items: readonly StoreValue[];
  nextCursor: string | null;
}

/**
 * The port through which several processes act as one: sessions, revocations, throttle and audit. An engine brings one
 * (SQLite, Redis); {@link memoryStore} serves a single process. Every method rejects when the store cannot be reached:
 * "cannot tell" is never told as "no".
 */
export interface SharedStore {
  /** The value, or `undefined` when there is none or it has expired. */
  get(key: string): Promise<StoreValue | undefined>;
  /** Keeps a value for `ttl` seconds. Resolves when it is as durable as the store can make it. */
  set(key: string, value: StoreValue, ttl: number): Promise<void>;
  /**
   * Sets the value only where the present one is `before` (`undefined`: where there is none), in one step for all
   * processes. Resolves to whether it did; if not, somebody was quicker.
   */
  replace(key: string, before: StoreValue | undefined, value: StoreValue, ttl: number): Promise<boolean>;
  /** Adds one and resolves to the new number. The first call starts the `ttl` (seconds); later ones do not lengthen it. */
  increment(key: string, ttl: number): Promise<number>;
  /** Adds an entry to the end of a log, kept for `ttl` seconds. A full store may drop the oldest ones sooner. */
  append(log: string, entry: StoreValue, ttl: number): Promise<void>;
  /** Reads a log, newest first. `limit` is 50 by default. */
  page(log: string, cursor?: string, limit?: number): Promise<LogPage>;
  /**
   * Follows all keys that begin with `prefix`: first one list of what is there now, which may be empty, then a list for
   * each change, made by any process, within a second. Ends when `signal` aborts or the store closes.
   */
  watch(prefix: string, signal: AbortSignal): AsyncIterable<readonly StoreEntry[]>;
}
