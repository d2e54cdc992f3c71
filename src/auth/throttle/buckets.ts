import type { SharedStore, StoreValue } from '../../store/shared-store.js';
import { askStore, storeUnavailable } from '../time-limit.js';
import { type BucketRule, type BucketState, giveBack, type Taken, take } from './bucket.js';

/** Where buckets are kept. */
export interface Buckets {
  take(key: string, rule: BucketRule, now: number): Taken | Promise<Taken>;
  giveBack(key: string, rule: BucketRule, now: number, succeeded: boolean): void | Promise<void>;
}

/** Buckets that answer at once. */
export interface MemoryBuckets extends Buckets {
  readonly size: number;
  take(key: string, rule: BucketRule, now: number): Taken;
}

/** Buckets in the memory of this process. When it is full, the oldest that blocks nobody goes: a flood of names ends no block. */
export function memoryBuckets(maxKeys = 10_000): MemoryBuckets {
  const states = new Map<string, BucketState>();
  const put = (key: string, state: BucketState, now: number): void => {
    if (!states.delete(key) && states.size >= maxKeys) states.delete(oldestFree(states, now));
    states.set(key, state);
  };
  return {
    get size() {
      return states.size;
    },
    take(key, rule, now) {
      const taken = take(states.get(key), rule, now);
      if (taken.allowed) put(key, taken.state, now);
      return taken;
    },
    giveBack(key, _rule, _now, succeeded) {
      const state = states.get(key);
      if (state) states.set(key, giveBack(state, succeeded));
    },
  };
}

/** The oldest key that is not blocked; where all are, the one whose block ends first. */
function oldestFree(states: ReadonlyMap<string, BucketState>, now: number): string {
  let soonest = '';
  let end = Number.POSITIVE_INFINITY;
  for (const [key, { until }] of states) {
    if (until <= now) return key;
    if (until < end) [soonest, end] = [key, until];
  }
  return soonest;
}

/** Tries to change a bucket that other processes change too, before giving up. */
const maxRaces = 100;

/** Buckets in a store, so that several processes count as one. Throws STORE_UNAVAILABLE where it does not answer. */
export function sharedBuckets(store: SharedStore, prefix: string): Buckets {
  const stateOf = (value: StoreValue | undefined): BucketState | undefined => value as unknown as BucketState | undefined;
  const replace = (key: string, before: StoreValue | undefined, state: BucketState, { window }: BucketRule, now: number) => {
    const left = Math.max(state.since + window * 1000, state.until) - now;
    return store.replace(prefix + key, before, { ...state }, Math.max(1, left / 1000));
  };
  return {
    take: (key, rule, now) =>
      askStore(async () => {
        for (let race = 0; race < maxRaces; race++) {
          const before = await store.get(prefix + key);
          const taken = take(stateOf(before), rule, now);
          if (!taken.allowed || (await replace(key, before, taken.state, rule, now))) return taken;
        }
        throw storeUnavailable();
      }),
    giveBack: (key, rule, now, succeeded) =>
      askStore(async () => {
        for (let race = 0; race < maxRaces; race++) {
          const before = await store.get(prefix + key);
          const state = stateOf(before);
          if (!state || (await replace(key, before, giveBack(state, succeeded), rule, now))) return;
        }
        throw storeUnavailable();
      }),
  };
}
