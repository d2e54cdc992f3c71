import { setTimeout } from 'node:timers/promises';
import { atLeast, atMost, printTable } from '../lib/ratio-table.js';
import { inTurn } from '../lib/rounds.js';
import { withSides } from './sides.js';

/** @typedef {import('../lib/child.js').Child} Child */

const workerCounts = [1, 3, 6];
/**
 * Milliseconds after which what is written later than the end of a task, such as statistics, is
 * written.
 */
const settled = 1200;

/**
 * How fast tasks that wait are run, and what each costs the workers and Redis.
 * @param {{ rounds: number, amount: number }} sizes
 */
export async function runTasks({ rounds, amount }) {
  await withSides(async (ours, plain) => {
    const [mine, peer] = [await prepare(ours), await prepare(plain)];
    const rows = [];
    for (const count of workerCounts) {
      const label = `${count} ${count === 1 ? 'worker' : 'workers'}`;
      for (const contender of [mine, peer]) await addWorkers(contender, count, amount * count);
      const { rate, cpu, commands, redis } = await inTurn({
        ...{ label: `run, ${label}`, rounds, mine, peer },
        measure: (contender) => measure(contender, amount),
      });
      rows.push(
        {
          name: `run, ${label} with 50 at once`,
          unit: 'tasks/s',
          ...rate,
          goal: count === 1 ? atLeast(0.75) : undefined,
        },
        { name: `CPU of the workers per task, ${label}`, unit: 'µs', ...cpu, goal: atMost(1.5) },
        { name: `Redis commands per task, ${label}`, unit: '', ...commands, goal: atMost(2) },
        { name: `CPU of Redis per task, ${label}`, unit: 'µs', ...redis, goal: atMost(2) },
      );
    }
    printTable({ mine: 'ours', peer: 'plain BullMQ' }, rows);
  });
}

/** @typedef {Awaited<ReturnType<typeof prepare>>} Contender */

/** @param {import('./sides.js').Side} side */
async function prepare(side) {
  return { side, caller: await side.child('caller'), workers: /** @type {Child[]} */ ([]) };
}

/**
 * Starts workers until there are so many, and lets each run about as many tasks as a round has,
 * since the first tasks are slower.
 * @param {Contender} contender
 * @param {number} count
 * @param {number} first
 */
async function addWorkers({ side, caller, workers }, count, first) {
  while (workers.length < count) workers.push(await side.child('worker'));
  await caller.ask('batches', 1000, first);
  await side.untilRun();
}

/**
 * @param {Contender} contender
 * @param {number} amount
 */
async function measure({ side, caller, workers }, amount) {
  const usage = async () => {
    const times = /** @type {number[]} */ (
      await Promise.all(workers.map((worker) => worker.ask('cpu')))
    );
    return { ...(await side.usage()), workers: times.reduce((sum, time) => sum + time, 0) };
  };
  await side.queue.pause();
  await caller.ask('batches', 1000, amount);
  await setTimeout(200);
  const before = await usage();
  const began = performance.now();
  await side.queue.resume();
  await side.untilRun();
  const milliseconds = performance.now() - began;
  await setTimeout(settled);
  const after = await usage();
  return {
    rate: (amount * 1000) / milliseconds,
    cpu: ((after.workers - before.workers) * 1000) / amount,
    commands: (after.commands - before.commands) / amount,
    redis: ((after.cpu - before.cpu) * 1000) / amount,
  };
}
