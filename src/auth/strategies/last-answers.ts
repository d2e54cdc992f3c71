import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { SharedStore } from '../../store/shared-store.js';
import type { Cipher } from '../cipher.js';
import type { Health } from './health.js';
import type { StrategyRegistry } from './registry.js';
import type { KnownUser } from './strategy.js';
import { readKnownUser } from './verdict.js';

/*
 * A directory that is down must not end sessions. So the last answer of `find_user` about each user
 * holds for `staleFor` of the strategy while the method fails. The answer is in the store, so that
 * it also holds after a restart and in other processes. It is encrypted, because the version of a
 * user may be the hash of a password.
 */

interface LastAnswersDeps {
  registry: Pick<StrategyRegistry, 'get'>;
  store: Pick<SharedStore, 'get' | 'set' | 'replace'>;
  /** Prefix of the keys of the answers in the store. */
  prefix: string;
  cipher: Cipher;
  health: Pick<Health, 'answered' | 'failed'>;
  /** Maximum number of seconds that a session lasts. */
  tokenExpiry: number;
  /** Returns the present time in Unix milliseconds. */
  now: () => number;
}

/** Seconds for which the last answer holds, if the strategy does not say it. */
const defaultStaleFor = 900;
/** Milliseconds after which an unchanged answer is stored again. */
const renewAfter = 60_000;
/** Milliseconds between two questions to a strategy that fails. */
const retryAfter = 1000;
/** Milliseconds after the last failure in which only the users concerned can end it. */
const failureLasts = 60_000;
const remembered = 10_000;

/** An answer as it is stored, encrypted. */
type Stored = [id: string, at: number, found: KnownUser];

/** A strategy whose `find_user` fails. Times are of `performance.now()`. */
interface Failing {
  /** The users for whom it failed. */
  users: Set<string>;
  failedAt: number;
  askedAt: number;
}

/** The last answers of the strategies of a login, and whether the strategies fail. */
export class LastAnswers {
  readonly #deps: LastAnswersDeps;
  /** What this process stored last, so that most answers cause no call of the store. */
  readonly #kept = new LRUCache<string, { text: string; at: number }>({ max: remembered });
  readonly #failing = new Map<string, Failing>();

  constructor(deps: LastAnswersDeps) {
    this.#deps = deps;
  }

  /** Whether `find_user` of a strategy fails at present. */
  isFailing(strategy: string): boolean {
    return this.#failing.has(strategy);
  }

  /** Whether a failing strategy was asked a moment ago, so that it is not asked again yet. */
  isPaused(strategy: string): boolean {
    const failing = this.#failing.get(strategy);
    return failing !== undefined && performance.now() - failing.askedAt < retryAfter;
  }

  /** Notes that a strategy is asked now. */
  asking(strategy: string): void {
    const failing = this.#failing.get(strategy);
    if (failing) failing.askedAt = performance.now();
  }

  /** Notes that `find_user` of a strategy failed. */
  failed(strategy: string, username: string, error: unknown): void {
    const at = performance.now();
    const { users } = this.#failing.get(strategy) ?? { users: new Set() };
    if (users.size < remembered) users.add(username);
    this.#failing.set(strategy, { users, failedAt: at, askedAt: at });
    this.#deps.health.failed(strategy, error, []);
  }

  /**
   * Notes that `find_user` of a strategy answered. The method may fail for some users only, such as
   * those whose state must be read from a server. So only an answer about one of these ends the
   * failure, or any answer after a time without failures.
   */
  answered(strategy: string, username: string): void {
    const failing = this.#failing.get(strategy);
    if (!failing) return;
    const isRecent = performance.now() - failing.failedAt < failureLasts;
    if (isRecent && !failing.users.has(username)) return;
    this.#failing.delete(strategy);
    this.#deps.health.answered(strategy, 'found');
  }

  /** Stores an answer in the background, if it is new or was stored some time ago. */
  keep(strategy: string, username: string, { version, roles }: KnownUser): void {
    const { store, cipher, now } = this.#deps;
    const staleFor = this.#staleFor(strategy);
    if (staleFor === 0) return;
    const id = idOf(strategy, username);
    const found = { version, ...(roles && { roles }) };
    const text = JSON.stringify(found);
    const at = now();
    const before = this.#kept.get(id);
    const interval = Math.min(renewAfter, staleFor * 100);
    if (before?.text === text && Math.abs(at - before.at) < interval) return;
    this.#kept.set(id, { text, at });
    const value = cipher.encrypt(JSON.stringify([id, at, found] satisfies Stored));
    store.set(this.#keyOf(id), value, staleFor).catch(() => this.#kept.delete(id));
  }

  /** Removes the answer about a user who does not exist any more, in the background. */
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
   * answer.
   */
  async get(strategy: string, username: string): Promise<KnownUser | undefined> {
    const { store, cipher, now } = this.#deps;
    const id = idOf(strategy, username);
    const value = await store.get(this.#keyOf(id));
    const text = typeof value === 'string' ? cipher.decrypt(value) : undefined;
    if (text === undefined) return undefined;
    const [storedId, at, found] = JSON.parse(text) as Stored;
    const holds = storedId === id && Math.abs(now() - at) < this.#staleFor(strategy) * 1000;
    return holds ? readKnownUser(found) : undefined;
  }

  #staleFor(strategy: string): number {
    const { registry, tokenExpiry } = this.#deps;
    return Math.min(registry.get(strategy)?.staleFor ?? defaultStaleFor, tokenExpiry);
  }

  #keyOf(id: string): string {
    return this.#deps.prefix + createHash('sha256').update(id).digest('base64url');
  }
}

function idOf(strategy: string, username: string): string {
  return `${strategy} ${username}`;
}
