import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { SharedStore, StoreValue } from '../../store/shared-store.js';
import type { AuthLog } from '../auth-log.js';
import type { Cipher } from '../cipher.js';
import { LogLimit } from '../log-limit.js';
import type { Health } from './health.js';
import type { StrategyRegistry } from './registry.js';
import type { KnownUser } from './strategy.js';
import { readKnownUser } from './verdict.js';

/*
 * A directory that is down must not end sessions. So the last answer of `find_user` about each user
 * holds for `staleFor` of the strategy while the method fails. The answer is in the store, so that
 * it also holds after a restart and in other processes. It is encrypted, because the version of a
 * user may be the hash of a password.
 *
 * The error of a failure may say that the last answer holds for less time, because the server
 * refused to answer about this user. Then the entry of the user in the store expires earlier.
 */

interface LastAnswersDeps {
  registry: Pick<StrategyRegistry, 'get'>;
  store: Pick<SharedStore, 'get' | 'replace'>;
  /** Prefix of the keys of the answers in the store. */
  prefix: string;
  cipher: Cipher;
  health: Pick<Health, 'answered' | 'failed'>;
  log: Pick<AuthLog, 'findFailed'>;
  /** Maximum number of seconds that a session lasts. */
  tokenExpiry: number;
  /** Returns the present time in Unix milliseconds. */
  now: () => number;
}

/** Seconds for which the last answer holds if the strategy has no `staleFor`. */
const defaultStaleFor = 900;
/** Milliseconds after which an unchanged answer is stored again. */
const renewAfter = 60_000;
/** Milliseconds between two calls of `find_user` of a strategy that fails. */
const retryAfter = 1000;
/**
 * Milliseconds after the last failure in which only answers about the users for whom the strategy
 * failed can end the outage.
 */
const failureLasts = 60_000;
/**
 * Number of users in a row for whom a strategy must fail before it counts as failing. If a strategy
 * fails for one user only, it is still asked about the other users.
 */
const usersOfOutage = 3;
/** Milliseconds by which the clock of the process that stored an answer may be ahead. */
const clockSkew = 60_000;
const remembered = 10_000;
/** Attempts to store an answer while other processes store theirs. */
const maxTries = 5;

/** An answer as it is stored, encrypted. */
type Stored = [id: string, askedAt: number, found: KnownUser];

/** An answer that this process stored. */
interface Kept {
  text: string;
  at: number;
  /** When it was stored because the store might have another answer. */
  suspectAt?: number;
}

/** The last failures of a strategy. Times are of `performance.now()`. */
interface Failures {
  /** The users for whom the strategy failed, with no answer in between. */
  users: Set<string>;
  failedAt: number;
  /** Whether it fails for so many users that it is not asked about the other users. */
  isOutage: boolean;
  /** Seconds for which answers hold according to the last error. */
  limit: number;
  /** When it was last asked in an outage: about a user for whom it failed, or another user. */
  askedAt: { failed: number; other: number };
}

/** The last answers of the strategies of a login, and whether the strategies fail. */
export class LastAnswers {
  readonly #deps: LastAnswersDeps;
  /** What this process stored last, so that most answers need no call to the store. */
  readonly #kept = new LRUCache<string, Kept>({ max: remembered });
  readonly #failures = new Map<string, Failures>();
  /** When a strategy was asked about a user for whom it failed a short time ago. */
  readonly #failing = new LRUCache<string, number>({ max: remembered, ttl: failureLasts });
  readonly #lines = new LogLimit();

  constructor(deps: LastAnswersDeps) {
    this.#deps = deps;
  }

  /** Returns the present time in Unix milliseconds. */
  now(): number {
    return this.#deps.now();
  }

  /** Whether `find_user` of a strategy fails at present, for this user or for all users. */
  isFailing(strategy: string, username: string): boolean {
    return this.#hasFailed(strategy, username) || this.#outageOf(strategy) !== undefined;
  }

  /** Whether a failing strategy was asked a moment ago, so that it is not asked again yet. */
  isPaused(strategy: string, username: string): boolean {
    const isRecent = (at: number): boolean => performance.now() - at < retryAfter;
    const asked = this.#failing.get(idOf(strategy, username));
    if (asked !== undefined && isRecent(asked)) return true;
    const outage = this.#outageOf(strategy);
    // The calls for users for whom it fails must not delay those for other users.
    return (
      outage !== undefined && isRecent(outage.askedAt[asked === undefined ? 'other' : 'failed'])
    );
  }

  /** Notes that a strategy is asked about a user now. */
  asking(strategy: string, username: string): void {
    const hasFailed = this.#hasFailed(strategy, username);
    if (hasFailed) this.#failing.set(idOf(strategy, username), performance.now());
    const outage = this.#outageOf(strategy);
    if (outage) outage.askedAt[hasFailed ? 'failed' : 'other'] = performance.now();
  }

  /** Notes that `find_user` of a strategy failed. */
  failed(strategy: string, username: string, error: unknown): void {
    const { health, log } = this.#deps;
    const at = performance.now();
    this.#failing.set(idOf(strategy, username), at);
    const before = this.#failures.get(strategy);
    const { users, isOutage } = before ?? { users: new Set<string>(), isOutage: false };
    if (users.size < usersOfOutage) users.add(username);
    const next = {
      ...{ users, failedAt: at, isOutage: isOutage || users.size >= usersOfOutage },
      limit: limitOf(error),
      askedAt: before?.askedAt ?? { failed: at, other: at },
    };
    this.#failures.set(strategy, next);
    if (next.isOutage) health.failed(strategy, error, []);
    else if (this.#lines.isDue(strategy)) log.findFailed(strategy, username, error);
  }

  /**
   * Notes that `find_user` of a strategy answered. During an outage, the method may still answer
   * about users without a request to its server. So the outage ends with an answer about a user for
   * whom the strategy failed, or with any answer after a time without failures.
   */
  answered(strategy: string, username: string): void {
    const hasFailed = this.#hasFailed(strategy, username);
    if (hasFailed) this.#failing.delete(idOf(strategy, username));
    const failures = this.#failures.get(strategy);
    if (!failures) return;
    const isRecent = performance.now() - failures.failedAt < failureLasts;
    if (failures.isOutage && isRecent && !hasFailed) return;
    this.#failures.delete(strategy);
    if (failures.isOutage) this.#deps.health.answered(strategy, 'found');
  }

  #hasFailed(strategy: string, username: string): boolean {
    return this.#failing.size > 0 && this.#failing.has(idOf(strategy, username));
  }

  #outageOf(strategy: string): Failures | undefined {
    const failures = this.#failures.get(strategy);
    return failures?.isOutage ? failures : undefined;
  }

  /**
   * Stores an answer in the background, if it is new or was stored some time ago. If the store may
   * have another answer, stores this one at once, but at most once a second. An answer to a later
   * question stays in the store.
   *
   * @param askedAt When the strategy was asked, in Unix milliseconds.
   */
  keep(
    strategy: string,
    username: string,
    { version, identity, roles, unchecked }: KnownUser,
    { askedAt, isSuspect = false }: { askedAt: number; isSuspect?: boolean },
  ): void {
    const staleFor = this.#staleFor(strategy);
    if (staleFor === 0) return;
    const id = idOf(strategy, username);
    const found: KnownUser = { version, identity, roles, unchecked };
    const text = JSON.stringify(found);
    const at = this.#deps.now();
    const before = this.#kept.get(id);
    const isSame = before?.text === text;
    const interval = isSuspect ? retryAfter : Math.min(renewAfter, staleFor * 100);
    const last = isSuspect ? before?.suspectAt : before?.at;
    if (isSame && last !== undefined && Math.abs(at - last) < interval) return;
    this.#kept.set(id, { text, at, ...(isSuspect && { suspectAt: at }) });
    this.#write(strategy, [id, askedAt, found]).catch(() => this.#kept.delete(id));
  }

  /** Stores an answer, unless the store has one to a later question, from another process. */
  async #write(strategy: string, stored: Stored): Promise<void> {
    const { store, cipher } = this.#deps;
    const [id, askedAt] = stored;
    const key = this.#keyOf(id);
    const value = cipher.encrypt(JSON.stringify(stored));
    for (let tries = 0; tries < maxTries; tries++) {
      const before = await store.get(key);
      const other = this.#read(before, strategy, id);
      if (other && other.askedAt > askedAt) return;
      if (await store.replace(key, before, value, this.#staleFor(strategy))) return;
    }
    throw new Error('other processes store answers all the time');
  }

  /** Removes the answer about a user who no longer exists, in the background. */
  forget(strategy: string, username: string): void {
    const { store } = this.#deps;
    const id = idOf(strategy, username);
    const key = this.#keyOf(id);
    const remove = async (): Promise<void> => {
      const value = await store.get(key);
      if (value !== undefined) await store.replace(key, value, undefined, 1);
    };
    this.#kept.delete(id);
    // If the store fails, the next request of the user tries again.
    remove().catch(() => {});
  }

  /**
   * Resolves to the last answer about a user if it still holds. Rejects if the store does not
   * answer. `error` is the one with which the strategy has failed for this user now.
   */
  async get(strategy: string, username: string, error?: unknown): Promise<KnownUser | undefined> {
    const { store, now } = this.#deps;
    const id = idOf(strategy, username);
    const key = this.#keyOf(id);
    const value = await store.get(key);
    const last = this.#read(value, strategy, id);
    if (!last || value === undefined) return undefined;
    const [own, age] = [limitOf(error), (now() - last.askedAt) / 1000];
    const limit = error === undefined ? (this.#outageOf(strategy)?.limit ?? own) : own;
    const left = limit - age;
    if (own < this.#staleFor(strategy)) {
      // The next answer is stored again, because the entry expires earlier now.
      this.#kept.delete(id);
      await store.replace(key, value, left > 0 ? value : undefined, Math.max(left, 1));
    }
    return left > 0 ? last.found : undefined;
  }

  /** Reads an entry of the store. Returns `undefined` if its answer does not hold. */
  #read(
    value: StoreValue | undefined,
    strategy: string,
    id: string,
  ): { found: KnownUser | undefined; askedAt: number } | undefined {
    const { cipher, now } = this.#deps;
    const text = typeof value === 'string' ? cipher.decrypt(value) : undefined;
    if (text === undefined) return undefined;
    const [storedId, askedAt, found] = JSON.parse(text) as Stored;
    const age = now() - askedAt;
    const holds = storedId === id && age < this.#staleFor(strategy) * 1000 && age > -clockSkew;
    return holds ? { found: readKnownUser(found), askedAt } : undefined;
  }

  #staleFor(strategy: string): number {
    const { registry, tokenExpiry } = this.#deps;
    return Math.min(registry.get(strategy)?.staleFor ?? defaultStaleFor, tokenExpiry);
  }

  #keyOf(id: string): string {
    return this.#deps.prefix + createHash('sha256').update(id).digest('base64url');
  }
}

/** Returns the seconds for which the last answer holds after an error, as the error says. */
function limitOf(error: unknown): number {
  const { staleFor } = (error ?? {}) as { staleFor?: unknown };
  return typeof staleFor === 'number' && staleFor >= 0 ? staleFor : Number.POSITIVE_INFINITY;
}

function idOf(strategy: string, username: string): string {
  return `${strategy} ${username}`;
}
