/**
 * Failed attempts that are counted together. An attempt under way counts as a failure until its
 * outcome is known.
 */
export interface BucketState {
  /** Failures and attempts under way. */
  readonly n: number;
  /** How many of `n` are under way. */
  readonly open: number;
  /** When the count began, or for a rolling window the last attempt; Unix milliseconds. */
  readonly since: number;
  /** No attempt is admitted before; Unix milliseconds, 0 for no block. */
  readonly until: number;
  /** Failures since the last success, for the log alone. */
  readonly failed: number;
}

/** How attempts are counted, and for how long further ones are refused. */
export interface BucketRule {
  /** Seconds after which the count starts again. */
  readonly window: number;
  /** Whether each attempt starts the window again, so that it ends only after a pause. */
  readonly rolling: boolean;
  /** Attempts that may fail before the first block. */
  readonly limit: number;
  /** Seconds that a block lasts at most. */
  readonly longest: number;
  /** End of the block that the `n`-th attempt starts, for `n` from `limit`; Unix milliseconds. */
  blockedUntil(n: number, since: number, now: number): number;
}

/** An attempt that must not be made now. */
export interface Refused {
  readonly admitted: false;
  /** When the block ends; Unix milliseconds. */
  readonly until: number;
  /** Whether attempts are under way, which may still succeed and make room. */
  readonly open: boolean;
}

/** An attempt that was counted, and the state that it left. */
export interface Admitted {
  readonly admitted: true;
  readonly state: BucketState;
}

/** How an attempt ended. One that is `withdrawn` checked no password. */
export type Outcome = 'failed' | 'succeeded' | 'withdrawn';

/** Milliseconds by which the clocks of two processes may differ. */
const skew = 60_000;

/** Returns the stored state as far as it still counts at `now`. */
function liveState(
  state: BucketState | undefined,
  rule: BucketRule,
  now: number,
): BucketState | undefined {
  if (!state || now >= state.since + rule.window * 1000) return undefined;
  // The clock was set back. The count holds, but a block must not last for the length of the jump.
  const jumped = state.since > now + skew || state.until > now + rule.longest * 1000 + skew;
  return jumped ? { ...state, since: Math.min(state.since, now), until: 0 } : state;
}

/** Whether an attempt would be refused now; changes nothing. */
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
 * Counts one attempt before its password is checked, so that many attempts at once cannot exceed
 * the limit.
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
 * The state after an attempt that left the state `taken` has ended; `undefined` if nothing is left
 * to count.
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
  // This attempt must not end a block that a later attempt started.
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
 * `limit` attempts, then a wait of 1 s that doubles to 900 s. Forgotten after 75 minutes without an
 * attempt.
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

/** Allows `limit` attempts in a window, given in seconds, and then no more until it ends. */
export function upTo(limit: number, window: number): BucketRule {
  return {
    window,
    rolling: false,
    limit,
    longest: window,
    blockedUntil: (_n, since) => since + window * 1000,
  };
}

/** Allows `limit` attempts in a window, given in seconds, and then one every `pause` seconds. */
export function thenOneEach(limit: number, window: number, pause: number): BucketRule {
  return {
    window,
    rolling: false,
    limit,
    longest: pause,
    blockedUntil: (_n, _since, now) => now + pause * 1000,
  };
}
