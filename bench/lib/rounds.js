/** @typedef {() => Promise<number>} Measure One round of one contender; more is better. */

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/**
 * Measures ours and the peer's in turn, so that what else the machine does falls on both, and
 * prints the median of the ratios of each round.
 * @param {string} row
 * @param {{ unit: string, ours: Measure, peer: Measure, peerName: string, rounds?: number,
 * lessIsBetter?: boolean }} contest
 */
export async function compare(
  row,
  { unit, ours, peer, peerName, rounds = 5, lessIsBetter = false },
) {
  /** @type {number[]} */ const mine = [];
  /** @type {number[]} */ const theirs = [];
  for (let round = 0; round < rounds; round++) {
    const first = round % 2 === 0;
    if (first) mine.push(await ours());
    theirs.push(await peer());
    if (!first) mine.push(await ours());
  }
  const ratio = median(mine.map((value, round) => value / (theirs[round] ?? 1)));
  const show = (/** @type {number} */ value) =>
    value.toLocaleString('en', { maximumFractionDigits: 1 });
  console.log(
    `| ${row} | ${show(median(mine))} | ${show(median(theirs))} (${peerName}) | ${unit}${lessIsBetter ? ', less is better' : ''} | ${ratio.toFixed(2)} × |`,
  );
}

/**
 * Measures two contenders in turn, each first in every other round, and resolves to the figures of
 * each by their names. `label` is shown with the ratios of each round, on the standard error
 * output.
 * @template T
 * @template {string} K
 * @param {{ label: string, rounds: number, mine: T, peer: T, measure: (contender: T) =>
 * Promise<Record<K, number>> }} contest
 */
export async function inTurn({ label, rounds, mine, peer, measure }) {
  const stats = /** @type {Record<K, { mine: number[], peer: number[] }>} */ ({});
  for (let round = 0; round < rounds; round++) {
    const first = await measure(round % 2 === 0 ? mine : peer);
    const second = await measure(round % 2 === 0 ? peer : mine);
    const [own, other] = round % 2 === 0 ? [first, second] : [second, first];
    const names = /** @type {K[]} */ (Object.keys(own));
    for (const name of names) {
      stats[name] ??= { mine: [], peer: [] };
      stats[name].mine.push(own[name]);
      stats[name].peer.push(other[name]);
    }
    const ratios = names.map((name) => `${name} ${(own[name] / other[name]).toFixed(2)}`);
    console.error(`${label}, round ${round + 1}: ${ratios.join(', ')}`);
  }
  return stats;
}
