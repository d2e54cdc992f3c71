import { setTimeout } from 'node:timers/promises';
import { below, printTable } from '../lib/ratio-table.js';
import { withSides } from './sides.js';

/** Tasks that each worker runs when it is killed. */
const held = 10;
/**
 * Milliseconds from one kill to the next, so that they meet the checks for crashed tasks at
 * different moments.
 */
const between = 2500;
/** Milliseconds. */
const timeout = 120_000;

/**
 * How long the tasks of killed workers go on counting as running, with default settings.
 * @param {{ rounds: number }} sizes
 */
export async function killWorkers({ rounds }) {
  await withSides(async (mine, peer) => {
    const [own = [], other = []] = await Promise.all(
      [mine, peer].map((side) => settleTimes(side, rounds)),
    );
    printTable({ mine: 'ours', peer: 'plain BullMQ' }, [
      {
        name: "until a killed worker's tasks have settled, median",
        unit: 's',
        mine: own,
        peer: other,
      },
      {
        name: "until a killed worker's tasks have settled, longest",
        unit: 's',
        mine: [Math.max(...own)],
        peer: [Math.max(...other)],
        goal: below(30, 's'),
      },
    ]);
  });
}

/**
 * Seconds from each kill until none of the worker's tasks is running.
 * @param {import('./sides.js').Side} side
 * @param {number} workers
 */
async function settleTimes(side, workers) {
  const caller = await side.child('caller');
  const victims = [];
  for (let n = 0; n < workers; n++) {
    // The others have no free slot, so the next tasks are this one's.
    const worker = await side.child('holder', String(held));
    const ids = new Set(await caller.ask('many', held));
    while ((await worker.ask('held')) < held) await setTimeout(100);
    victims.push({ worker, ids });
  }
  await side.child('worker');
  return Promise.all(
    victims.map(async ({ worker, ids }, n) => {
      await setTimeout(n * between);
      worker.kill();
      const began = performance.now();
      while ((await side.active()).some((id) => ids.has(id))) {
        if (performance.now() - began > timeout)
          throw new Error(`${side.who}: tasks of a killed worker still run after ${timeout} ms`);
        await setTimeout(50);
      }
      const seconds = (performance.now() - began) / 1000;
      console.error(`crash, ${side.who}, worker ${n + 1}: ${seconds.toFixed(1)} s`);
      return seconds;
    }),
  );
}
