/** Failed tries that are counted together. */
export interface BucketState {
  /** Tries that count. */
  readonly n: number;
  /** When the count began, or for a rolling one its last try; Unix milliseconds. */
  readonly since: number;
  /** Nothing is let through before; Unix milliseconds, 0 for no block. */
  readonly until: number;
  /** Failures since the last success, for the log alone. */
  readonly failed: number;
}

/** How tries are counted and when they are held up. */
export interface BucketRule {
  /** Seconds after which the count begins anew. */
  readonly window: number;
  /** Whether the window begins anew with each try, so that it ends only after a pause. */
  readonly rolling: boolean;
  /** Until when nothing more is let through after the `n`-th try at `now`; 0 for no block. Unix milliseconds. */
  blockedUntil(n: number, since: number, now: number): number;
}

/** What became of a try: counted, or refused until then. */
export type Taken = { allowed: true; state: BucketState } | { allowed: false; until: number };

/** Counts one try, before the password is checked: so that of many at once no more pass than may. */
export function take(state: BucketState | undefined, rule: BucketRule, now: number): Taken {
  const live = state && now < state.since + rule.window * 1000 ? state : undefined;
  if (live && now < live.until) return { allowed: false, until: live.until };
  const n = (live?.n ?? 0) + 1;
  const since = live && !rule.rolling ? live.since : now;
  return { allowed: true, state: { n, since, until: rule.blockedUntil(n, since, now), failed: (live?.failed ?? 0) + 1 } };
}

/** Takes a try back that was none: it succeeded, or was refused elsewhere. */
export function giveBack(state: BucketState, succeeded: boolean): BucketState {
  return { ...state, n: Math.max(0, state.n - 1), until: 0, failed: succeeded ? 0 : Math.max(0, state.failed - 1) };
}

/** `free` tries, then a wait of 1 s that doubles to 900 s. Forgotten after an hour and a quarter without a try. */
export function doubling(free: number): BucketRule {
  return {
    window: 4500,
    rolling: true,
    blockedUntil: (n, _since, now) => (n < free ? 0 : now + Math.min(900, 2 ** Math.min(n - free, 10)) * 1000),
  };
}

/** So many tries in a window, and none more until it ends. */
export function upTo(limit: number, window: number): BucketRule {
  return { window, rolling: false, blockedUntil: (n, since) => (n < limit ? 0 : since + window * 1000) };
}

/** So many tries in a window, and then one each so many seconds. */
export function thenOneEach(limit: number, window: number, pause: number): BucketRule {
  return { window, rolling: false, blockedUntil: (n, _since, now) => (n < limit ? 0 : now + pause * 1000) };
}
