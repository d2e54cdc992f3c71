/**
 * Makes a clock for ages within this process: it follows `now`, but does not go back when the clock
 * of the system is set back. Otherwise an age would be too small or negative after the jump, for as
 * long as the jump was. Time while the host sleeps is included.
 */
export function forwardClock(now: () => number = Date.now): () => number {
  let offset = Number.NEGATIVE_INFINITY;
  return () => {
    const steady = performance.now();
    offset = Math.max(offset, now() - steady);
    return steady + offset;
  };
}
