import { TaskflowError } from '../../errors.js';
import { secretKeysOption } from '../../secret-options.js';
import { forwardClock } from '../forward-clock.js';
import { deriveKeys, type KeyUse } from '../keys.js';
import { type FollowedSecret, fixedSecret, followSecret, isFollowable } from './followed-secret.js';
import type { Secret } from './secret.js';

/*
 * The secret keys of a login. A file or a function may give new keys at any time. A change has two
 * steps, so that other processes never see a token of a key that they do not know yet:
 *
 * 1. A new key verifies at once.
 * 2. After the time in which all processes notice the change, the new first key also signs.
 *
 * A key that is no longer listed verifies until the sessions that it may have signed have expired.
 */

/** The secret keys of a login, and the keys derived from them. */
export interface KeyRing {
  /**
   * Returns the keys: the first one signs, and all verify. Returns the same list until the keys
   * change.
   */
  secrets(): readonly string[];
  /** Makes a function that returns the derived keys for a use, in the order of `secrets`. */
  derived(use: KeyUse): () => readonly Buffer[];
  /**
   * Returns `undefined` if there are keys. Before the first answer of a function, returns a promise
   * of it. The promise rejects with STORE_UNAVAILABLE if the function failed.
   */
  ready(): Promise<void> | undefined;
  /** Calls the listener after each change of the keys. */
  onChange(listener: () => void): void;
}

/** A source of secret keys, newest first. */
export type KeySource = FollowedSecret<readonly string[]>;

/**
 * Reads the option `secretKey`: one secret or a list of them, newest first. A file or a function
 * may give several keys, one per line.
 *
 * @throws TypeError or RangeError if a key is not valid or a file cannot be read. The error never
 * contains a key.
 */
export function keySourcesOption(
  option: string,
  value: Secret | readonly Secret[] | undefined,
): readonly KeySource[] | undefined {
  if (value === undefined) return undefined;
  const items: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (!items.some(isFollowable)) {
    const keys = secretKeysOption(option, value as string | readonly string[]);
    return keys && [fixedSecret(keys)];
  }
  return items.map((item, index) => {
    const name = Array.isArray(value) ? `${option}[${index}]` : option;
    return followSecret(item, {
      option: name,
      read: (text, isFollowed) =>
        secretKeysOption(name, isFollowed ? text.split(/\r?\n/).filter(Boolean) : text) ?? [],
    });
  });
}

/** The longest delay of `setTimeout`, in milliseconds. */
const longestTimer = 2 ** 31 - 1;

interface RingDeps {
  sources: readonly KeySource[];
  /** Maximum number of seconds that a session lasts. */
  tokenExpiry: number;
}

/** Makes the key ring of a login. */
export function createKeyRing({ sources, tokenExpiry }: RingDeps): KeyRing {
  const clock = forwardClock();
  const listeners: (() => void)[] = [];
  const spread = Math.max(...sources.map((source) => source.spread));
  let keys: readonly string[] = [];
  /** For each key but the first: until when sessions that it signed may last. */
  const lastSessions = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;

  const replace = (changed: readonly string[]): void => {
    const isSame = changed.length === keys.length && changed.every((key, n) => key === keys[n]);
    if (isSame) return;
    keys = changed;
    for (const listener of listeners) listener();
  };

  /** Returns the keys of all sources, or none if a function has not answered yet. */
  const listed = (): readonly string[] => {
    const found = sources.map(({ value }) => value);
    return found.every((each) => each !== undefined) ? [...new Set(found.flat())] : [];
  };

  /** Makes the first listed key the one that signs, and drops the keys that are over. */
  const settle = (): void => {
    const present = listed();
    const [first] = present;
    const now = clock();
    const old = [...new Set([...present, ...keys])].filter((key) => key !== first);
    for (const key of old)
      if (!lastSessions.has(key)) lastSessions.set(key, now + tokenExpiry * 1000 + spread);
    const until = (key: string): number => lastSessions.get(key) ?? now;
    const unlisted = old.filter((key) => !present.includes(key) && until(key) > now);
    replace([...present, ...unlisted]);
    for (const key of lastSessions.keys())
      if (key === first || !keys.includes(key)) lastSessions.delete(key);
    if (unlisted.length > 0) later(settle, Math.min(...unlisted.map(until)) - now);
  };

  const later = (run: () => void, milliseconds: number): void => {
    clearTimeout(timer);
    timer = setTimeout(run, Math.min(milliseconds, longestTimer)).unref();
  };

  const changed = (): void => {
    const present = listed();
    const isKnown = keys.length === 0 || present[0] === undefined || keys.includes(present[0]);
    if (isKnown) settle();
    else {
      replace([...new Set([...keys, ...present])]);
      later(settle, spread);
    }
  };

  settle();
  for (const source of sources) source.onChange(changed);

  return {
    secrets: () => keys,
    derived(use) {
      let from: readonly string[] = [];
      let derived: readonly Buffer[] = [];
      return () => {
        if (from !== keys) [from, derived] = [keys, deriveKeys(keys, use)];
        return derived;
      };
    },
    ready: () => (keys.length > 0 ? undefined : firstKeys(sources)),
    onChange: (listener) => void listeners.push(listener),
  };
}

async function firstKeys(sources: readonly KeySource[]): Promise<void> {
  try {
    await Promise.all(sources.map((source) => source.get()));
  } catch (cause) {
    // The log already says why the function failed.
    throw new TaskflowError('STORE_UNAVAILABLE', 'the secret key of the login is not available', {
      cause,
      reported: true,
      detail: 'The secret key of this login is not available yet, so no session can be checked.',
    });
  }
}
