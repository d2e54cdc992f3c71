import { setTimeout } from 'node:timers/promises';
import { atLeast, atMost, printTable } from '../lib/ratio-table.js';
import { inTurn } from '../lib/rounds.js';
import { withSides } from './sides.js';

/**
 * How fast tasks are stored while none runs, and what each costs the caller and Redis.
 * @param {{ rounds: number, amount: number }} sizes
 */
export async function enqueueTasks({ rounds, amount }) {
  const ways = [
    { name: 'one caller', command: 'callers', by: 1, tasks: amount / 2, goal: atLeast(0.9) },
    { name: '100 callers', command: 'callers', by: 100, tasks: 2 * amount, goal: atLeast(0.75) },
    {
      name: 'batches of 1,000',
      command: 'batches',
      by: 1000,
      tasks: 2 * amount,
      goal: atLeast(0.9),
    },
  ];
  await withSides(async (ours, plain) => {
    const [mine, peer] = [await prepare(ours), await prepare(plain)];
    for (const { caller } of [mine, peer])
      for (const { command, by, tasks } of ways) await caller.ask(command, by, tasks);
    const rows = [];
    for (const { name, goal, ...way } of ways) {
      const { rate, cpu, commands, redis } = await inTurn({
        ...{ label: `enqueue, ${name}`, rounds, mine, peer },
        measure: (contender) => measure(contender, way),
      });
      rows.push(
        { name: `enqueue, ${name}`, unit: 'tasks/s', ...rate, goal },
        { name: `CPU of the caller per task, ${name}`, unit: 'µs', ...cpu },
        { name: `Redis commands per task, ${name}`, unit: '', ...commands, goal: atMost(2) },
        { name: `CPU of Redis per task, ${name}`, unit: 'µs', ...redis, goal: atMost(2) },
      );
    }
    printTable({ mine: 'ours', peer: 'plain BullMQ' }, rows);
  });
}

/** @param {import('./sides.js').Side} side */
async function prepare(side) {
  return { side, caller: await side.child('caller') };
}

/**
 * @param {Awaited<ReturnType<typeof prepare>>} contender
 * @param {{ command: string, by: number, tasks: number }} way
 */
async function measure({ side, caller }, { command, by, tasks }) {
  const usage = async () => ({
    ...(await side.usage()),
    caller: /** @type {number} */ (await caller.ask('cpu')),
  });
  const before = await usage();
  const milliseconds = /** @type {number} */ (await caller.ask(command, by, tasks));
  await setTimeout(200);
  const after = await usage();
  return {
    rate: (tasks * 1000) / milliseconds,
    cpu: ((after.caller - before.caller) * 1000) / tasks,
    commands: (after.commands - before.commands) / tasks,
    redis: ((after.cpu - before.cpu) * 1000) / tasks,
  };
}
