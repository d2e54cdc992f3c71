/**
 * The state of a bucket, which counts failed attempts. An attempt in progress counts as a failure
 * until its outcome is known.
 */
export interface BucketState {
  /** Number of failures and attempts in progress. */
  readonly n: number;
  /** Number of attempts in progress, which `n` includes. */
  readonly open: number;
  /**
   * When the count began, or when the last attempt began in a rolling window; Unix milliseconds.
   */
  readonly since: number;
  /** End of the block; Unix milliseconds, 0 if there is no block. */
  readonly until: number;
  /** Number of failures since the last success. Only the log uses it. */
  readonly failed: number;
}

/** The limit of a bucket, and how long it refuses further attempts. */
export interface BucketRule {
  /** Seconds after which the count starts again. */
  readonly window: number;
  /** Whether each attempt restarts the window. If so, the window ends only after a pause. */
  readonly rolling: boolean;
  /** Number of attempts that may fail before the first block. */
  readonly limit: number;
  /** Maximum length of a block in seconds. */
  readonly longest: number;
  /**
   * Returns the end of the block that the `n`-th attempt starts, for `n` from `limit`; Unix
   * milliseconds.
   */
  blockedUntil(n: number, since: number, now: number): number;
}

/** The result for a refused attempt. */
export interface Refused {
  readonly admitted: false;
  /** When the block ends; Unix milliseconds. */
  readonly until: number;
  /**
   * Whether attempts are in progress. If one of them succeeds, the refused attempt may be admitted.
   */
  readonly open: boolean;
}

/** The result for a counted attempt, with the state after it. */
export interface Admitted {
  readonly admitted: true;
  readonly state: BucketState;
}

/** The outcome of an attempt. `withdrawn`: no password was checked. */
export type Outcome = 'failed' | 'succeeded' | 'withdrawn';

/** Milliseconds by which the clocks of two processes may differ. */
const skew = 60_000;

/** Returns the stored state at `now`, or `undefined` if its window is over. */
function liveState(
  state: BucketState | undefined,
  rule: BucketRule,
  now: number,
): BucketState | undefined {
  if (!state || now >= state.since + rule.window * 1000) return undefined;
  // The clock was set back. The count remains, but the block must not last longer by the length of
  // the jump.
  const jumped = state.since > now + skew || state.until > now + rule.longest * 1000 + skew;
  return jumped ? { ...state, since: Math.min(state.since, now), until: 0 } : state;
}

/** Returns the refusal if an attempt would be refused now. Changes nothing. */
export function refusalOf(
  state: BucketState | undefined,
  rule: BucketRule,
  now: number,
): Refused | undefined {
  const live = liveState(state, rule, now);
  if (!live || now >= live.until) return undefined;
  return { admitted: false, until: live.until, open: live.open > 0 };
}

/**
 * Counts an attempt before its password is checked, so that simultaneous attempts cannot exceed the
 * limit.
 */
export function take(
  state: BucketState | undefined,
  rule: BucketRule,
  now: number,
): Admitted | Refused {
  const refused = refusalOf(state, rule, now);
  if (refused) return refused;
  const live = liveState(state, rule, now);
  const n = (live?.n ?? 0) + 1;
  const since = live && !rule.rolling ? live.since : now;
  const until = n < rule.limit ? 0 : rule.blockedUntil(n, since, now);
  return {
    admitted: true,
    state: { n, open: (live?.open ?? 0) + 1, since, until, failed: (live?.failed ?? 0) + 1 },
  };
}

/**
 * Returns the state after an attempt has ended, or `undefined` if nothing remains to count. `taken`
 * is the state that `take` returned for the attempt.
 */
export function settle(
  state: BucketState,
  rule: BucketRule,
  taken: BucketState,
  outcome: Outcome,
): BucketState | undefined {
  // The attempt belongs to a window that is over.
  if (!rule.rolling && state.since !== taken.since) return state;
  const open = Math.max(0, state.open - 1);
  if (outcome === 'failed') return { ...state, open };
  const n = state.n - 1;
  if (n <= 0) return undefined;
  // A block that a later attempt started must remain.
  const until = n < rule.limit || state.until === taken.until ? 0 : state.until;
  return {
    ...state,
    n,
    open,
    until,
    failed: outcome === 'succeeded' ? 0 : Math.max(0, state.failed - 1),
  };
}

/**
 * Allows `limit` failed attempts. Each further attempt starts a block, which doubles from 1 to 900
 * seconds. The count expires after 75 minutes without an attempt.
 */
export function doubling(limit: number): BucketRule {
  return {
    window: 4500,
    rolling: true,
    limit,
    longest: 900,
    blockedUntil: (n, _since, now) => now + Math.min(900, 2 ** Math.min(n - limit, 10)) * 1000,
  };
}

/**
 * Allows `limit` attempts in a window, given in seconds. Then it refuses attempts until the window
 * ends.
 */
export function upTo(limit: number, window: number): BucketRule {
  return {
    window,
    rolling: false,
    limit,
    longest: window,
    blockedUntil: (_n, since) => since + window * 1000,
  };
}

/**
 * Allows `limit` attempts in a window, given in seconds. Then it allows one attempt every `pause`
 * seconds.
 */
export function thenOneEach(limit: number, window: number, pause: number): BucketRule {
  return {
    window,
    rolling: false,
    limit,
    longest: pause,
    blockedUntil: (_n, _since, now) => now + pause * 1000,
  };
}
