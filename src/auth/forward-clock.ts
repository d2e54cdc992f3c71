/**
 * Makes a clock for ages within this process: it follows `now`, but does not go back when the clock of the system is set back.
 * Otherwise an age would be too small, or negative, for the length of the jump. Time while the host sleeps is included.
 */
export function forwardClock(now: () => number = Date.now): () => number {
  let offset = Number.NEGATIVE_INFINITY;
  return () => {
    const steady = performance.now();
    offset = Math.max(offset, now() - steady);
    return steady + offset;
  };
}
