import { setTimeout } from 'node:timers/promises';
import { atMost, printTable } from '../lib/ratio-table.js';
import { inTurn, median } from '../lib/rounds.js';
import { withSides } from './sides.js';

/** Tasks of a round. */
const times = 200;

/**
 * How soon an idle worker starts a task that another process enqueues.
 * @param {{ rounds: number }} sizes
 */
export async function pickUpTasks({ rounds }) {
  await withSides(async (ours, plain) => {
    const [mine, peer] = [await prepare(ours), await prepare(plain)];
    // The first tasks of a process are slower than the rest.
    for (const contender of [mine, peer]) await measure(contender);
    const { wait } = await inTurn({ label: 'pick-up', rounds, mine, peer, measure });
    printTable({ mine: 'ours', peer: 'plain BullMQ' }, [
      {
        name: 'from enqueue to start, one idle worker, median',
        unit: 'ms',
        ...wait,
        goal: atMost(1.2),
      },
    ]);
  });
}

/** @param {import('./sides.js').Side} side */
async function prepare(side) {
  return { side, caller: await side.child('caller'), worker: await side.child('worker') };
}

/** @param {Awaited<ReturnType<typeof prepare>>} contender */
async function measure({ side, caller, worker }) {
  await caller.ask('timed', times);
  await side.untilRun();
  await setTimeout(100);
  const waits = /** @type {number[]} */ (await worker.ask('waits'));
  if (waits.length !== times)
    throw new Error(`${side.who}: ${waits.length} of ${times} tasks were started`);
  return { wait: median(waits) };
}
