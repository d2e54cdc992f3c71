import type { SharedStore, StoreValue } from '../../store/shared-store.js';
import { storeUnavailable } from '../time-limit.js';
import {
  type Admitted,
  type BucketRule,
  type BucketState,
  type Outcome,
  type Refused,
  refusalOf,
  settle,
  take,
} from './bucket.js';

/** Buckets in a store. A method rejects if a call to the store does. */
export interface Buckets {
  /** Returns the refusal if an attempt would be refused now. Writes nothing. */
  refusalOf(key: string, rule: BucketRule, now: number): Promise<Refused | undefined>;
  /** Counts an attempt, or refuses it and writes nothing. */
  take(key: string, rule: BucketRule, now: number): Promise<Admitted | Refused>;
  /** Records the outcome of an attempt. `taken` is the state that `take` returned for it. */
  settle(
    key: string,
    rule: BucketRule,
    taken: BucketState,
    outcome: Outcome,
    now: number,
  ): Promise<void>;
}

/** Milliseconds after which a bucket that other processes keep changing is not read again. */
const maxRacing = 1000;

/**
 * Creates buckets in a store under `prefix`. Processes that use the same store share the counts.
 */
export function bucketsIn(store: SharedStore, prefix: string): Buckets {
  const inTurn = turns();
  const read = async (key: string): Promise<StoreValue | undefined> => store.get(prefix + key);
  const stateOf = (value: StoreValue | undefined): BucketState | undefined =>
    value as unknown as BucketState | undefined;

  const replace = (
    key: string,
    before: StoreValue | undefined,
    state: BucketState | undefined,
    { window }: BucketRule,
    now: number,
  ) => {
    if (!state) return store.replace(prefix + key, before, undefined, 1);
    const left = Math.max(state.since + window * 1000, state.until) - now;
    return store.replace(prefix + key, before, { ...state }, Math.max(1, left / 1000), {
      rank: state.n,
      notBefore: state.until,
    });
  };

  /**
   * Reads and replaces a bucket until no other process has changed it in between. If `change`
   * returns `unchanged`, nothing is written.
   */
  const alter = async <T>(
    key: string,
    rule: BucketRule,
    now: number,
    change: (
      state: BucketState | undefined,
    ) => { state: BucketState | undefined; answer: T } | { unchanged: T },
  ): Promise<T> =>
    inTurn(key, async () => {
      const began = performance.now();
      do {
        const before = await read(key);
        const changed = change(stateOf(before));
        if ('unchanged' in changed) return changed.unchanged;
        if (await replace(key, before, changed.state, rule, now)) return changed.answer;
      } while (performance.now() - began < maxRacing);
      throw storeUnavailable();
    });

  return {
    refusalOf: async (key, rule, now) => refusalOf(stateOf(await read(key)), rule, now),
    take: (key, rule, now) =>
      alter<Admitted | Refused>(key, rule, now, (state) => {
        const taken = take(state, rule, now);
        return taken.admitted ? { state: taken.state, answer: taken } : { unchanged: taken };
      }),
    settle: (key, rule, taken, outcome, now) =>
      alter<void>(key, rule, now, (state) => {
        const after = state && settle(state, rule, taken, outcome);
        return state === undefined || after === state
          ? { unchanged: undefined }
          : { state: after, answer: undefined };
      }),
  };
}

/**
 * Runs the changes of one key in this process one after the other. If they ran at the same time,
 * each would only make the others retry. If one fails, those behind it fail with the same error,
 * because each would have to wait for the store again.
 */
function turns(): <T>(key: string, run: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return async (key, run) => {
    const turn = (last.get(key) ?? Promise.resolve()).then(run);
    last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (last.get(key) === turn) last.delete(key);
    }
  };
}
