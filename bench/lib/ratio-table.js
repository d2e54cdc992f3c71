// Rows of figures that were measured side by side, with the ratio of each and its goal.
import { median } from './rounds.js';

/**
 * @typedef {object} Goal
 * @property {string} text
 * @property {(found: { mine: number, ratio: number, worst: number }) => boolean} isMet
 */
/**
 * @typedef {object} Row
 * @property {string} name
 * @property {string} unit
 * @property {number[]} mine A figure of each round.
 * @property {number[]} peer
 * @property {Goal | undefined} [goal]
 */

/**
 * @param {number} ratio
 * @returns {Goal}
 */
export const atLeast = (ratio) => ({
  text: `≥ ${ratio} ×`,
  isMet: (found) => found.ratio >= ratio,
});
/**
 * @param {number} ratio
 * @returns {Goal}
 */
export const atMost = (ratio) => ({ text: `≤ ${ratio} ×`, isMet: (found) => found.ratio <= ratio });
/**
 * A limit that ours keeps in every round.
 * @param {number} limit
 * @param {string} unit
 * @returns {Goal}
 */
export const always = (limit, unit) => ({
  text: `always < ${limit.toLocaleString('en')} ${unit}`,
  isMet: (found) => found.worst < limit,
});
/**
 * A limit of ours, in the middle of all rounds.
 * @param {number} limit
 * @param {string} unit
 * @returns {Goal}
 */
export const below = (limit, unit) => ({
  text: `< ${limit} ${unit}`,
  isMet: (found) => found.mine < limit,
});

/** @param {number} value */
const show = (value) =>
  value.toLocaleString(
    'en',
    value < 1000 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 },
  );

/**
 * Prints a table.
 * @param {{ mine: string, peer: string, ratio?: string }} names
 * @param {Row[]} rows
 */
export function printTable({ mine, peer, ratio = `${mine} ÷ ${peer}` }, rows) {
  const lines = rows.map(({ name, unit, goal, ...stats }) => {
    const ratios = stats.mine.map((value, round) => value / (stats.peer[round] ?? 1));
    const found = {
      mine: median(stats.mine),
      ratio: median(ratios),
      worst: Math.max(...stats.mine),
    };
    const cells = [
      name,
      `${show(found.mine)} ${unit}`.trim(),
      `${show(median(stats.peer))} ${unit}`.trim(),
      `${found.ratio.toFixed(2)} ×`,
    ];
    return [...cells, goal ? `${goal.text}${goal.isMet(found) ? '' : ' (missed)'}` : ''];
  });
  console.log('');
  for (const cells of [['row', mine, peer, ratio, 'goal'], Array(5).fill('---'), ...lines])
    console.log(`| ${cells.join(' | ')} |`);
}
