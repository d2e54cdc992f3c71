/**
 * Returns a clock for measuring ages within this process. It follows `now`, but does not go back
 * when the system clock is set back. With `now` itself, ages would be too small or negative after
 * such a jump. Time during which the host sleeps counts.
 */
export function forwardClock(now: () => number = Date.now): () => number {
  let offset = Number.NEGATIVE_INFINITY;
  return () => {
    const steady = performance.now();
    offset = Math.max(offset, now() - steady);
    return steady + offset;
  };
}
