import { LRUCache } from 'lru-cache';
import { TaskflowError } from '../../errors.js';
import { networkOf } from '../../http/client-address.js';
import { numberOption, optionsObject } from '../../options.js';
import { macOf } from '../keys.js';
import { type BucketRule, doubling, thenOneEach, upTo } from './bucket.js';
import type { Buckets } from './buckets.js';

/** How often a login may be tried. Failures count, not successes. */
export interface ThrottleOptions {
  /** Free failures of one account from one address; then each further try waits 1 s, doubling to 900 s. Default 5. */
  pair?: number | undefined;
  /** Failures of one address (IPv6: of one /64 network) in ten minutes. Default 30. */
  address?: number | undefined;
  /** Failures of one account from all addresses in an hour; then one try each 30 s. Default 50. */
  account?: number | undefined;
  /** Tries of everybody in a second, in this process. Default 20. */
  global?: number | undefined;
  /** Passwords that may wait to be checked, in this process; each takes its memory only when its turn comes. Default 32. */
  queue?: number | undefined;
  /** Seconds before which no failed login is answered, so that its time tells nothing. Default 0.3. */
  floor?: number | undefined;
}

/** The checked options. */
export type ThrottleLimits = { readonly [K in keyof Required<ThrottleOptions>]: number };

/** Reads the option `throttle`; `false` leaves nothing but the bound of the queue. */
export function throttleOption(value: ThrottleOptions | false | undefined): ThrottleLimits | false {
  if (value === false) return false;
  const given = optionsObject<ThrottleOptions>('throttle', value, ['pair', 'address', 'account', 'global', 'queue', 'floor']);
  const whole = (name: keyof ThrottleOptions, fallback: number): number =>
    numberOption(`throttle.${name}`, given[name], fallback, { min: 1, max: 1_000_000, integer: true });
  return {
    pair: whole('pair', 5),
    address: whole('address', 30),
    account: whole('account', 50),
    global: whole('global', 20),
    queue: whole('queue', defaultQueue),
    floor: numberOption('throttle.floor', given.floor, 0.3, { min: 0, max: 10, unit: 'seconds' }),
  };
}

/** Waiting password checks of a login without a throttle: memory is bounded anyway. */
export const defaultQueue = 32;

/** Milliseconds for which further refusals of one block are only counted: a flood must not fill the log. */
const quiet = 60_000;

/** Which limit a try ran into. */
export type BucketName = 'pair' | 'address' | 'account' | 'device' | 'global' | 'queue';

/** What a try is counted by. */
interface Try {
  /** As typed. */
  username: string;
  address: string;
  /** Id of the browser, where it has logged in as this user before: then it alone counts, and no stranger can lock it out. */
  device?: string | undefined;
}

/** A try that was counted. */
interface Ticket {
  /** How many times it has failed in a row, this one included, should it fail. */
  readonly attempt: number;
  /** The password was right. */
  succeeded(): Promise<void>;
  /** Nobody was asked. */
  takeBack(): Promise<void>;
}

/** Told of refusals: once for each block, then at most once a minute with how many there were meanwhile. */
export type OnThrottled = (bucket: BucketName, retryAfter: number, refused: number) => void;

/** Counts the tries of a login and refuses what is too much, with THROTTLED. */
export interface Throttle {
  enter(attempt: Try, onThrottled: OnThrottled): Promise<Ticket>;
  /** Counts a body that was no login, by its address alone. */
  malformed(address: string, onThrottled: OnThrottled): Promise<void>;
  /** What a full queue of password checks is answered with. */
  busy(retryAfter: number, onThrottled: OnThrottled): TaskflowError;
}

interface ThrottleParts {
  limits: ThrottleLimits | false;
  buckets: Buckets;
  /** Keys of the buckets are made with it: names that people typed are not kept. */
  key: Buffer | undefined;
  now: () => number;
}

interface Counted {
  name: BucketName;
  key: string;
  rule: BucketRule;
}

/** How often each limit holds a try up, and what it counts (OWASP ASVS 6.3.1, NIST 800-63B section 3.2.2). */
export function createThrottle({ limits, buckets, key, now }: ThrottleParts): Throttle {
  const told = new LRUCache<string, { until: number; at: number; silent: number }>({ max: 1000 });
  let second = { at: 0, tries: 0 };

  const refuse = (name: BucketName, bucketKey: string, until: number, onThrottled: OnThrottled): TaskflowError => {
    const retryAfter = Math.max(1, Math.ceil((until - now()) / 1000));
    const last = told.get(bucketKey);
    if (last && now() < last.until && now() - last.at < quiet) last.silent += 1;
    else {
      onThrottled(name, retryAfter, (last?.silent ?? 0) + 1);
      // What is everybody's has no block of its own, so there a minute is one.
      const shared = name === 'global' || name === 'queue';
      told.set(bucketKey, { until: shared ? now() + quiet : until, at: now(), silent: 0 });
    }
    return throttled(retryAfter);
  };

  /** Counts in each bucket in turn; where one refuses, what was counted before is taken back. */
  const count = async (counted: readonly Counted[], onThrottled: OnThrottled): Promise<number> => {
    let attempt = 1;
    for (const [index, { name, key: bucketKey, rule }] of counted.entries()) {
      const taken = await buckets.take(bucketKey, rule, now());
      if (!taken.allowed) {
        await back(counted.slice(0, index), false);
        throw refuse(name, bucketKey, taken.until, onThrottled);
      }
      if (index === 0) attempt = taken.state.failed;
    }
    return attempt;
  };

  const back = async (counted: readonly Counted[], succeeded: boolean): Promise<void> => {
    await Promise.all(counted.map(({ key: bucketKey, rule }) => buckets.giveBack(bucketKey, rule, now(), succeeded)));
  };

  const bucketsOf = ({ username, address, device }: Try, { pair, account, address: perAddress }: ThrottleLimits): Counted[] => {
    const name = accountOf(username);
    if (device !== undefined) return [{ name: 'device', key: macOf(key, 'device', name, device), rule: doubling(pair) }];
    const network = networkOf(address);
    return [
      { name: 'pair', key: macOf(key, 'pair', name, network), rule: doubling(pair) },
      { name: 'account', key: macOf(key, 'account', name), rule: thenOneEach(account, 3600, 30) },
      addressBucket(network, perAddress),
    ];
  };

  const addressBucket = (network: string, limit: number): Counted => ({
    name: 'address',
    key: macOf(key, 'address', network),
    rule: upTo(limit, 600),
  });

  /** Tries of this second; a bucket of this process alone, since it guards this process. */
  const admitToSecond = (onThrottled: OnThrottled): void => {
    const at = Math.floor(now() / 1000);
    if (second.at !== at) second = { at, tries: 0 };
    if (limits && second.tries >= limits.global) throw refuse('global', 'global', (at + 1) * 1000, onThrottled);
    second.tries += 1;
  };

  return {
    async enter(attempt, onThrottled) {
      if (!limits) return { attempt: 1, succeeded: async () => {}, takeBack: async () => {} };
      const counted = bucketsOf(attempt, limits);
      const failed = await count(counted, onThrottled);
      try {
        if (attempt.device === undefined) admitToSecond(onThrottled);
      } catch (error) {
        await back(counted, false);
        throw error;
      }
      return { attempt: failed, succeeded: () => back(counted, true), takeBack: () => back(counted, false) };
    },
    async malformed(address, onThrottled) {
      if (limits) await count([addressBucket(networkOf(address), limits.address)], onThrottled);
    },
    busy: (retryAfter, onThrottled) => refuse('queue', 'queue', now() + retryAfter * 1000, onThrottled),
  };
}

/**
 * One account, however its name is composed, capitalised or spaced: directories take all of these for the same name, and
 * each spelling must not have failures of its own to spend.
 */
export function accountOf(username: string): string {
  return username
    .normalize('NFKC')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .replace(/\s+/gu, ' ')
    .trim()
    .toLowerCase();
}

function throttled(retryAfter: number): TaskflowError {
  const wait = retryAfter < 90 ? `${retryAfter} second${retryAfter === 1 ? '' : 's'}` : `${Math.ceil(retryAfter / 60)} minutes`;
  return new TaskflowError('THROTTLED', `Too many attempts. Try again in ${wait}.`, { headers: { 'Retry-After': String(retryAfter) } });
}
