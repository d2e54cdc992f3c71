/** @typedef {() => Promise<number>} Measure One round of one contender; more is better. */

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/**
 * Measures ours and the peer's in turn, so that what else the machine does falls on both, and prints the median of the
 * ratios of each round.
 * @param {string} row @param {{ unit: string, ours: Measure, peer: Measure, peerName: string, rounds?: number, lessIsBetter?: boolean }} contest
 */
export async function compare(row, { unit, ours, peer, peerName, rounds = 5, lessIsBetter = false }) {
  /** @type {number[]} */ const mine = [];
  /** @type {number[]} */ const theirs = [];
  for (let round = 0; round < rounds; round++) {
    const first = round % 2 === 0;
    if (first) mine.push(await ours());
    theirs.push(await peer());
    if (!first) mine.push(await ours());
  }
  const ratio = median(mine.map((value, round) => value / (theirs[round] ?? 1)));
  const show = (/** @type {number} */ value) => value.toLocaleString('en', { maximumFractionDigits: 1 });
  console.log(
    `| ${row} | ${show(median(mine))} | ${show(median(theirs))} (${peerName}) | ${unit}${lessIsBetter ? ', less is better' : ''} | ${ratio.toFixed(2)} × |`,
  );
}
