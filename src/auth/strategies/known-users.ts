import { LRUCache } from 'lru-cache';
import { runInEmptyContext } from '../../empty-context.js';
import type { Role } from '../../http/access.js';
import { inTime } from '../../waiting.js';
import { forwardClock } from '../forward-clock.js';
import { macOf } from '../keys.js';
import type { Session } from '../sessions/session.js';
import { storeUnavailable } from '../time-limit.js';
import type { LastAnswers } from './last-answers.js';
import type { StrategyRegistry } from './registry.js';
import type { KnownUser } from './strategy.js';
import { readKnownUser } from './verdict.js';

/** What is the same as long as neither the account nor its password has changed. */
export interface UserVersion {
  readonly version: string;
}

/** The state of a user at one time, as `find_user` returned it. */
export interface UserState extends UserVersion {
  readonly roles: readonly Role[] | undefined;
  /** Represents the version and the roles in a token (claim `sv`) and reveals neither. */
  readonly tag: string;
}

/**
 * Answers whether the users of sessions have changed, according to `find_user` of their strategies.
 */
export interface KnownUsers {
  /** Resolves to the state of a user, for which it asks as {@link KnownUsers.ask} does. */
  stateOf(strategy: string, username: string): Promise<UserState | undefined>;
  /**
   * Asks the strategy, never the cache, for the version of a user alone. The answer has no roles,
   * so it is neither cached nor kept as the last answer. Rejects with the error of the strategy.
   */
  versionOf(strategy: string, username: string): Promise<UserVersion | undefined>;
  /**
   * Returns a user as `find_user` describes it, or `undefined` if the user does not exist.
   * An asynchronous answer is cached. If the strategy fails, resolves to its last answer while this
   * answer still holds, and then rejects with the error of the strategy.
   */
  find(strategy: string, username: string): Found | Promise<Found>;
  /**
   * Asks the strategy about a user, never the cache. Resolves to `undefined` if the user
   * does not exist, or if the strategy has no `find_user`. Rejects with the error of the strategy.
   */
  ask(strategy: string, username: string): Promise<Found>;
  /**
   * Whether a user still exists with the same version and roles. Rejects with STORE_UNAVAILABLE if
   * the strategy fails and its last answer no longer holds.
   */
  unchanged(
    user: Pick<Session, 'strategy' | 'username'>,
    version: string,
  ): boolean | Promise<boolean>;
  /**
   * Asks the strategy, never the cache, whether a user no longer has this version and these roles.
   * Resolves to `false` if the strategy cannot tell.
   */
  hasChanged(user: Pick<Session, 'strategy' | 'username'>, version: string): Promise<boolean>;
  /** Drops the cached answers and calls the listeners, because users may have changed. */
  changed(): void;
  /** Calls the listener for each call of `changed`. Returns a function that stops this. */
  onChanged(listener: () => void): () => void;
}

type Found = KnownUser | undefined;

/** A call of `find_user`. */
interface Asked {
  /** The answer, or the last one if the strategy fails. */
  orLast: Promise<Found>;
  since: number;
  /** The same in Unix milliseconds. */
  askedAt: number;
  /** The result of `orLast`, so that later requests need not wait for a promise. */
  settled?: { found: Found };
}

/** Milliseconds for which an asynchronous answer is cached. */
const answerLifetime = 30_000;
/** Milliseconds that a request waits for a strategy that failed before. */
const maxWait = 250;
const remembered = 10_000;

/** A tag for each key, in their order, so that a change of the keys ends no session. */
interface Tags {
  keys: readonly Buffer[];
  tags: readonly string[];
}

interface Versions {
  version: string;
  roles: string;
  tags: Tags;
}

interface KnownUsersDeps {
  registry: StrategyRegistry;
  /** Returns the keys of the tags. Returns the same list until the keys change. */
  keys: () => readonly Buffer[];
  last: LastAnswers;
}

/**
 * Asks `find_user` for each request. An asynchronous answer is cached for 30 seconds, and requests
 * of the same user share one call. A login never uses the cache, because the answer decides whether
 * the checked password is still valid.
 *
 * While a strategy fails for a user, it is asked about this user at most once a second. If it fails
 * for several users in a row, it is also asked about other users at most once a second. A request
 * waits a moment for the new answer, so that it notices a recovery at once. Otherwise, the request
 * uses the last answer.
 */
export function knownUsers({ registry, keys: keysOf, last }: KnownUsersDeps): KnownUsers {
  const answers = new LRUCache<string, Asked>({
    max: remembered,
    ttl: answerLifetime,
    perf: { now: forwardClock() },
  });
  const versions = new LRUCache<string, Versions>({ max: remembered });
  const listeners = new Set<() => void>();
  let changes = 0;
  const idOf = (strategy: string, username: string): string => `${strategy} ${username}`;

  /**
   * Tags of frozen answers that are the same object each time, such as those of the built-in
   * strategies.
   */
  const ofAnswer = new WeakMap<KnownUser, Tags>();

  /** Returns 48 bits per key that change with the user's version and roles and reveal neither. */
  const tagsOf = (strategy: string, username: string, found: KnownUser): readonly string[] => {
    const keys = keysOf();
    const known = ofAnswer.get(found);
    if (known?.keys === keys) return known.tags;
    const { roles } = found;
    const version = versionOf(found);
    const id = idOf(strategy, username);
    const text = JSON.stringify(roles ?? null);
    const last = versions.get(id);
    const same = last?.version === version && last.roles === text && last.tags.keys === keys;
    const tags = same
      ? last.tags
      : { keys, tags: keys.map((key) => macOf(key, version, text).slice(0, 8)) };
    if (!same) versions.set(id, { version, roles: text, tags });
    if (Object.isFrozen(found) && (roles === undefined || Object.isFrozen(roles)))
      ofAnswer.set(found, tags);
    return tags.tags;
  };

  const find = (strategy: string, username: string): Found | Promise<Found> => {
    const asked = answers.size > 0 ? answers.get(idOf(strategy, username)) : undefined;
    if (asked && last.isFailing(strategy, username)) return soon(strategy, username, asked);
    if (asked) return asked.settled ? asked.settled.found : asked.orLast;
    // The cached answer outlives the request that asks first, so it must not keep its context.
    return runInEmptyContext(() =>
      last.isPaused(strategy, username)
        ? lastOr(strategy, username)
        : askStrategy(strategy, username),
    );
  };

  /** Resolves to the last answer. Asks the strategy if there is none. */
  const lastOr = async (strategy: string, username: string): Promise<Found> =>
    (await last.get(strategy, username)) ?? askStrategy(strategy, username);

  /** Resolves to the answer if it comes within a moment, and otherwise to the last answer. */
  const soon = async (strategy: string, username: string, asked: Asked): Promise<Found> => {
    const left = Math.max(0, maxWait - (performance.now() - asked.since));
    try {
      return await inTime(asked.orLast, left, () => new Error('no answer yet'));
    } catch {
      return (await last.get(strategy, username)) ?? asked.orLast;
    }
  };

  const askStrategy = (strategy: string, username: string): Found | Promise<Found> => {
    const candidate = registry.get(strategy);
    if (!candidate?.find_user) return undefined;
    const askedAt = last.now();
    const note = (found: Found): Found => {
      last.answered(strategy, username);
      if (!found) last.forget(strategy, username);
      // The answers of the built-in strategies are frozen, and come from memory.
      else if (!Object.isFrozen(found)) last.keep(strategy, username, found, { askedAt });
      return found;
    };
    const isFailing = last.isFailing(strategy, username);
    last.asking(strategy, username);
    let answer: Promise<Found>;
    try {
      const found = registry.find(candidate, username);
      if (!(found instanceof Promise)) return note(readKnownUser(found));
      answer = found.then(readKnownUser).then(note);
    } catch (error) {
      answer = Promise.reject(error);
    }
    const id = idOf(strategy, username);
    const orLast = answer.catch(async (error: unknown) => {
      last.failed(strategy, username, error);
      if (answers.peek(id) === asked) answers.delete(id);
      return (await last.get(strategy, username, error)) ?? answer;
    });
    const asked: Asked = { orLast, since: performance.now(), askedAt };
    const settle = (found: Found): void => {
      asked.settled = { found };
    };
    orLast.then(settle, () => {});
    answers.set(id, asked);
    return isFailing ? soon(strategy, username, asked) : orLast;
  };

  const ask = async (strategy: string, username: string): Promise<Found> => {
    const candidate = registry.get(strategy);
    const before = changes;
    const [since, askedAt] = [performance.now(), last.now()];
    const asked = candidate && registry.find(candidate, username);
    const found = readKnownUser(await asked);
    const id = idOf(strategy, username);
    last.answered(strategy, username);
    if (!found) {
      answers.delete(id);
      return undefined;
    }
    if (!Object.isFrozen(found)) last.keep(strategy, username, found, { askedAt });
    // Only existing users are cached. Otherwise, unknown names could displace them.
    if (asked instanceof Promise && changes === before) {
      const orLast = runInEmptyContext(() => Promise.resolve(found));
      answers.set(id, { orLast, since, askedAt, settled: { found } });
    }
    return found;
  };

  return {
    async stateOf(strategy, username) {
      const found = await ask(strategy, username);
      return (
        found && {
          version: versionOf(found),
          roles: found.roles && [...found.roles],
          tag: tagsOf(strategy, username, found)[0] ?? '',
        }
      );
    },
    async versionOf(strategy, username) {
      const candidate = registry.get(strategy);
      const found = readKnownUser(
        candidate && (await registry.find(candidate, username, 'version')),
      );
      return found && { version: versionOf(found) };
    },
    find,
    ask,
    unchanged({ strategy, username }, version) {
      const candidate = registry.get(strategy);
      if (!candidate?.find_user) return candidate !== undefined && version === '';
      const same = (found: KnownUser | undefined): boolean => {
        if (!found) return false;
        if (tagsOf(strategy, username, found).includes(version)) return true;
        // Another process may have stored an older answer meanwhile.
        if (!last.isFailing(strategy, username) && !Object.isFrozen(found)) {
          const { askedAt = last.now() } = answers.peek(idOf(strategy, username)) ?? {};
          last.keep(strategy, username, found, { askedAt, isSuspect: true });
        }
        return false;
      };
      try {
        const found = find(strategy, username);
        return found instanceof Promise ? found.then(same, fail) : same(found);
      } catch (error) {
        return fail(error);
      }
    },
    async hasChanged({ strategy, username }, version) {
      if (!registry.get(strategy)?.find_user || last.isFailing(strategy, username)) return false;
      try {
        const found = await ask(strategy, username);
        return !found || !tagsOf(strategy, username, found).includes(version);
      } catch {
        return false;
      }
    },
    changed() {
      changes += 1;
      answers.clear();
      for (const listener of listeners) listener();
    },
    onChanged(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Returns what is the same as long as neither the account nor its password has changed. */
function versionOf({ version, identity }: KnownUser): string {
  return identity === undefined ? version : JSON.stringify([identity, version]);
}

function fail(cause: unknown): never {
  throw storeUnavailable(cause);
}
