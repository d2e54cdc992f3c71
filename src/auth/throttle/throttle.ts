import { LRUCache } from 'lru-cache';
import type { TaskflowError } from '../../errors.js';
import { networkOf } from '../../http/client-address.js';
import { forwardClock } from '../forward-clock.js';
import { macOf } from '../keys.js';
import { accountOf } from './account.js';
import {
  type BucketRule,
  type BucketState,
  doubling,
  type Outcome,
  type Refused,
  thenOneEach,
  upTo,
} from './bucket.js';
import type { Buckets } from './buckets.js';
import type { ThrottleLimits } from './limits.js';
import { throttled } from './throttled.js';
import { WaitingLines } from './waiting-lines.js';

/*
 * Limits how often passwords can be tried. Each attempt is counted in several buckets: by its
 * address, by its account, and by the pair of both. `bucket.ts` contains the rules of a bucket.
 * `buckets.ts` keeps buckets in a store, so that processes share the counts. Attempts of familiar
 * browsers and networks (`familiar-places.ts`) have separate buckets. An attempt is counted before
 * its password is checked, and settled afterwards. If attempts in progress use up a limit, further
 * attempts wait in `WaitingLines`, because a success frees capacity.
 */

/**
 * Milliseconds for which further refusals of a block are counted but not logged, so that a flood
 * does not fill the log.
 */
const logInterval = 60_000;

/** Limits for attempts that wait for others in progress. */
const waiting = { timeout: 5000, perLine: 100, total: 1000 } as const;

/** The limit that refused an attempt. */
export type BucketName =
  | 'pair'
  | 'address'
  | 'token'
  | 'callback'
  | 'redirect'
  | 'message'
  | 'account'
  | 'device'
  | 'familiar'
  | 'global'
  | 'queue';

/**
 * A browser or network that has logged in as the user before. Attempts from elsewhere must not lock
 * it out.
 */
export interface Familiar {
  by: 'device' | 'network';
  /** Id of the browser, or the network. */
  id: string;
  /** The strategy that accepted the user. */
  strategy: string;
  /**
   * Canonical name of the user, by which the attempts are counted. Users with similar names must
   * not share the limits.
   */
  username: string;
}

/** The data of an attempt that decides which limits apply. */
interface Attempt {
  /** The name as the user typed it. */
  username: string;
  /** Address of the client. */
  address: string;
  familiar?: Familiar | undefined;
}

/**
 * An attempt that was counted. The caller must call exactly one of its three methods when it ends.
 */
interface CountedAttempt {
  /** Number of consecutive failures, including this attempt if it fails. */
  readonly attempt: number;
  /** Settles the attempt if the password was right. */
  succeeded(): Promise<void>;
  /** Settles the attempt if the password was wrong. */
  failed(): Promise<void>;
  /** Settles the attempt if no password was checked. */
  withdrawn(): Promise<void>;
}

/**
 * Called for refusals: once for each block, then at most once a minute with the number of refusals
 * since the last call.
 */
export type OnThrottled = (bucket: BucketName, retryAfter: number, refused: number) => void;

/** The limits of requests that are no logins. They do not affect logins. */
type StrayBucket = 'token' | 'callback' | 'message';
type CountedCallback = Pick<CountedAttempt, 'failed' | 'withdrawn'>;

/** Counts the attempts of a login. Refuses those over a limit with THROTTLED. */
export interface Throttle {
  /**
   * Counts an attempt before its password is checked. If attempts in progress use up a limit, it
   * waits up to 5 seconds for them, so that simultaneous logins with the right password are not
   * refused. A refused attempt changes no count.
   */
  enter(attempt: Attempt, onThrottled: OnThrottled): Promise<CountedAttempt>;
  /**
   * Counts a body that is not a valid login, by its address only. Wrong API tokens have a bucket of
   * their own, so that a script with an expired token does not block logins.
   */
  malformed(address: string, onThrottled: OnThrottled, bucket?: StrayBucket): Promise<void>;
  /** Counts a callback of a provider before it is checked, by its address or browser. */
  callback(client: string, onThrottled: OnThrottled): Promise<CountedCallback>;
  /** Returns the error for an attempt that the full queue of password checks refused. */
  busy(retryAfter: number, onThrottled: OnThrottled): TaskflowError;
}

interface ThrottleDeps {
  limits: ThrottleLimits | false;
  buckets: Buckets;
  /**
   * Buckets of familiar browsers and networks. In a separate store, attempts from elsewhere cannot
   * displace them. Default: `buckets`.
   */
  familiarBuckets?: Buckets | undefined;
  /** Returns keys, the first for the hashes of bucket keys, so that typed names are not stored. */
  keys: () => readonly Buffer[];
  now: () => number;
}

interface Bucket {
  name: BucketName;
  table: Buckets;
  key: string;
  rule: BucketRule;
}

interface TakenBucket extends Bucket {
  state: BucketState;
}

/** The result if a limit refused the attempt. Nothing is counted. */
interface RefusedBy extends Refused {
  name: BucketName;
  key: string;
}

const passed = async (): Promise<void> => {};

/** Creates the throttle of a login (OWASP ASVS 6.3.1, NIST 800-63B section 3.2.2). */
export function createThrottle({
  limits,
  buckets,
  familiarBuckets = buckets,
  keys,
  now,
}: ThrottleDeps): Throttle {
  const logged = new LRUCache<string, { until: number; at: number; silent: number }>({ max: 1000 });
  const ages = forwardClock(now);
  const lines = new WaitingLines(waiting);
  let second = { at: 0, attempts: 0 };

  const refuse = (
    name: BucketName,
    bucketKey: string,
    until: number,
    onThrottled: OnThrottled,
  ): TaskflowError => {
    const retryAfter = Math.max(1, Math.ceil((until - now()) / 1000));
    const last = logged.get(bucketKey);
    if (last && now() < last.until && ages() - last.at < logInterval) last.silent += 1;
    else {
      onThrottled(name, retryAfter, (last?.silent ?? 0) + 1);
      // A limit for all attempts has no block, so a minute counts as one.
      const shared = name === 'global' || name === 'queue';
      logged.set(bucketKey, { until: shared ? now() + logInterval : until, at: ages(), silent: 0 });
    }
    return throttled(retryAfter);
  };

  const end = async (taken: readonly TakenBucket[], outcome: Outcome): Promise<void> => {
    try {
      await Promise.all(
        taken.map(({ table, key: bucketKey, rule, state }) =>
          table.settle(bucketKey, rule, state, outcome, now()),
        ),
      );
    } finally {
      for (const { key: bucketKey } of taken) lines.signal(bucketKey);
    }
  };

  /** Asks every bucket before it counts in any, so that a refused attempt changes nothing. */
  const count = async (
    wanted: readonly Bucket[],
    isLimitedInAll: boolean,
  ): Promise<TakenBucket[] | RefusedBy> => {
    const refusals = await Promise.all(
      wanted.map(({ table, key: bucketKey, rule }) => table.refusalOf(bucketKey, rule, now())),
    );
    for (const [n, bucket] of wanted.entries()) {
      const refused = refusals[n];
      if (refused) return { ...refused, name: bucket.name, key: bucket.key };
    }
    if (isLimitedInAll && isSecondFull()) return refusedBySecond();
    const taken = await takeAll(wanted);
    if (isRefused(taken) || !isLimitedInAll) return taken;
    // Counted last, so that attempts which another limit refuses do not use up this limit.
    if (isSecondFull()) {
      await end(taken, 'withdrawn');
      return refusedBySecond();
    }
    second.attempts += 1;
    return taken;
  };

  const takeAll = async (wanted: readonly Bucket[]): Promise<TakenBucket[] | RefusedBy> => {
    const taken: TakenBucket[] = [];
    try {
      for (const bucket of wanted) {
        const answer = await bucket.table.take(bucket.key, bucket.rule, now());
        if (!answer.admitted) {
          // Another attempt was faster, so the counts of this attempt are refunded.
          await end(taken, 'withdrawn');
          return { ...answer, name: bucket.name, key: bucket.key };
        }
        taken.push({ ...bucket, state: answer.state });
      }
      return taken;
    } catch (error) {
      // If the store does not answer this call either, the attempt still counts as a failure.
      end(taken, 'withdrawn').catch(() => {});
      throw error;
    }
  };

  /**
   * Whether the limit per second is reached. Each process counts on its own, because the limit
   * protects the process.
   */
  const isSecondFull = (): boolean => {
    const at = Math.floor(now() / 1000);
    if (second.at !== at) second = { at, attempts: 0 };
    return limits !== false && second.attempts >= limits.global;
  };

  const refusedBySecond = (): RefusedBy => ({
    admitted: false,
    until: (second.at + 1) * 1000,
    open: false,
    name: 'global',
    key: 'global',
  });

  /** Counts an attempt. If it is refused, waits for attempts in progress that may free capacity. */
  const admit = async (
    wanted: readonly Bucket[],
    isLimitedInAll: boolean,
    onThrottled: OnThrottled,
  ): Promise<TakenBucket[]> => {
    const again = (): Promise<TakenBucket[] | RefusedBy> => count(wanted, isLimitedInAll);
    let answer = await again();
    if (isRefused(answer) && answer.open)
      answer = await lines.wait(
        answer.key,
        answer,
        again,
        (last) => !isRefused(last) || !last.open,
      );
    if (isRefused(answer)) throw refuse(answer.name, answer.key, answer.until, onThrottled);
    return answer;
  };

  /**
   * Returns the buckets of an attempt. The address comes first, so that a blocked address learns
   * nothing about other limits.
   */
  const bucketsOf = (
    { username, address, familiar }: Attempt,
    { pair, account, address: perAddress }: ThrottleLimits,
  ): Bucket[] => {
    const network = networkOf(address);
    const ofAddress = addressBucket(network, perAddress, 'address');
    const hourly = thenOneEach(account, 3600, 30);
    const bucket = (bucketName: BucketName, rule: BucketRule, ...parts: string[]): Bucket => ({
      name: bucketName,
      table: familiar ? familiarBuckets : buckets,
      key: macOf(keys()[0], bucketName, ...parts),
      rule,
    });
    if (!familiar) {
      const name = accountOf(username);
      return [
        ofAddress,
        bucket('pair', doubling(pair), name, network),
        bucket('account', hourly, name),
      ];
    }
    const { by, id, strategy } = familiar;
    const user = [strategy, familiar.username];
    const shared = bucket('familiar', hourly, ...user);
    if (by === 'network') return [ofAddress, bucket('pair', doubling(pair), ...user, id), shared];
    return [bucket('device', doubling(pair), ...user, id), shared];
  };

  const addressBucket = (network: string, limit: number, name: BucketName): Bucket => ({
    name,
    table: buckets,
    key: macOf(keys()[0], name, network),
    rule: upTo(limit, 600),
  });

  return {
    async enter(attempt, onThrottled) {
      if (!limits) return { attempt: 1, succeeded: passed, failed: passed, withdrawn: passed };
      const isLimitedInAll = attempt.familiar === undefined;
      const taken = await admit(bucketsOf(attempt, limits), isLimitedInAll, onThrottled);
      const own = taken.find(({ name }) => name === 'pair' || name === 'device');
      return {
        attempt: own?.state.failed ?? 1,
        succeeded: () => end(taken, 'succeeded'),
        failed: () => end(taken, 'failed'),
        withdrawn: () => end(taken, 'withdrawn'),
      };
    },
    async malformed(address, onThrottled, name: BucketName = 'address') {
      if (!limits) return;
      const bucket = addressBucket(networkOf(address), limits.address, name);
      await end(await admit([bucket], false, onThrottled), 'failed');
    },
    async callback(client, onThrottled) {
      if (!limits) return { failed: passed, withdrawn: passed };
      const bucket = addressBucket(networkOf(client), limits.address, 'redirect');
      const taken = await admit([bucket], false, onThrottled);
      return { failed: () => end(taken, 'failed'), withdrawn: () => end(taken, 'withdrawn') };
    },
    busy: (retryAfter, onThrottled) =>
      refuse('queue', 'queue', now() + retryAfter * 1000, onThrottled),
  };
}

function isRefused(answer: TakenBucket[] | RefusedBy): answer is RefusedBy {
  return !Array.isArray(answer);
}
