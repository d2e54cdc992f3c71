// Tasks on a Redis beside BullMQ alone on the same one: enqueueing by one caller, by many and in batches, running them, how soon
// one is picked up, and what a process reads when it starts. Two processes each: one enqueues, one runs.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Queue, QueueEvents } from 'bullmq';
import { bullmqEngine } from '../dist/engines/bullmq/index.js';
import { TaskManager } from '../dist/index.js';
import { startRedis } from './lib/redis.js';
import { median } from './lib/rounds.js';

const amount = Number(process.env.AMOUNT ?? 10_000);
const rounds = Number(process.env.ROUNDS ?? 5);
const redis = await startRedis();
const connection = { host: '127.0.0.1', port: redis.port };

/** @param {'ours' | 'theirs'} who */
async function startWorker(who) {
  const child = fork(fileURLToPath(new URL('lib/redis-worker.js', import.meta.url)), [who, String(redis.port)], { execArgv: [] });
  await once(child, 'message');
  return child;
}

const tasks = new TaskManager({ engine: bullmqEngine({ connection, logger: false }), logger: false });
const noop = tasks.define('noop');
await tasks.start({ run: false });
const queue = new Queue('noop', { connection });
const events = new QueueEvents('noop', { connection });
await events.waitUntilReady();

const ours = {
  one: () => noop.enqueue(),
  batch: (/** @type {number} */ n) => noop.enqueueMany(Array.from({ length: n }, () => /** @type {[]} */ ([]))),
  open: async () => {
    const { counts } = await tasks.aggregate('pulse');
    return counts.pending + counts.running;
  },
  async pickUp() {
    const from = performance.now();
    const ended = new Promise((resolve) => {
      void (async () => {
        for await (const { upserts } of tasks.watch((await tasks.describe()).rev, new AbortController().signal))
          if (upserts.some(({ startedAt }) => startedAt !== null)) return resolve(undefined);
      })();
    });
    await noop.enqueue();
    await ended;
    return performance.now() - from;
  },
};
const theirs = {
  one: () => queue.add('noop', {}, { removeOnComplete: true }),
  batch: (/** @type {number} */ n) =>
    queue.addBulk(Array.from({ length: n }, () => ({ name: 'noop', data: {}, opts: { removeOnComplete: true } }))),
  open: () => queue.getJobCountByTypes('wait', 'active'),
  async pickUp() {
    const from = performance.now();
    const active = once(events, 'active');
    await theirs.one();
    await active;
    return performance.now() - from;
  },
};

/** @type {Record<string, { ours: number[], theirs: number[] }>} */
const found = {};
/** @param {string} row @param {'ours' | 'theirs'} who @param {number} value */
function note(row, who, value) {
  found[row] ??= { ours: [], theirs: [] };
  found[row][who].push(value);
}

/** @param {number} n @param {() => Promise<unknown>} work */
async function perSecond(n, work) {
  const from = performance.now();
  await work();
  return (n * 1000) / (performance.now() - from);
}

/** @param {() => Promise<number>} open */
async function untilDone(open) {
  while ((await open()) > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

for (let round = 0; round < rounds; round++) {
  for (const who of round % 2 === 0 ? /** @type {const} */ (['ours', 'theirs']) : /** @type {const} */ (['theirs', 'ours'])) {
    const it = who === 'ours' ? ours : theirs;
    const few = amount / 10;
    note(
      'enqueue, one caller, tasks/s',
      who,
      await perSecond(few, async () => {
        for (let n = 0; n < few; n++) await it.one();
      }),
    );
    note(
      'enqueue, 100 callers, tasks/s',
      who,
      await perSecond(amount, () =>
        Promise.all(
          Array.from({ length: 100 }, async () => {
            for (let n = 0; n < amount / 100; n++) await it.one();
          }),
        ),
      ),
    );
    note(
      'enqueue in batches of 1,000, tasks/s',
      who,
      await perSecond(amount, async () => {
        for (let n = 0; n < amount; n += 1000) await it.batch(1000);
      }),
    );
    const worker = await startWorker(who);
    note('run by one worker, 50 at once, tasks/s', who, await perSecond(amount * 2.1, () => untilDone(it.open)));
    const waits = [];
    for (let n = 0; n < 50; n++) {
      waits.push(await it.pickUp());
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    note('seen to run after an enqueue, idle, ms', who, median(waits));
    worker.kill('SIGTERM');
    await once(worker, 'exit');
  }
}

console.log(`| Node ${process.versions.node} | ours | BullMQ | ratio |\n| --- | --- | --- | --- |`);
for (const [row, { ours: mine, theirs: peer }] of Object.entries(found)) {
  const show = (/** @type {number[]} */ values) => median(values).toLocaleString('en', { maximumFractionDigits: 1 });
  console.log(`| ${row} | ${show(mine)} | ${show(peer)} | ${median(mine.map((value, n) => value / (peer[n] ?? 1))).toFixed(2)} × |`);
}
const client = await queue.getBackend().client;
const total = (await tasks.find({ limit: 1 })).total;
const from = performance.now();
const late = new TaskManager({ engine: bullmqEngine({ connection, logger: false }), logger: false });
await late.find({ limit: 1 });
const { counts } = await late.aggregate('pulse');
console.log(
  `a process that starts has ${counts.success.toLocaleString('en')} tasks after ${Math.round(performance.now() - from)} ms (${total >= 10_000 ? 'all' : total})`,
);
console.log((await client.info('memory')).match(/used_memory_human:\S+/)?.[0]);

await Promise.all([tasks.stop(), late.stop(), queue.close(), events.close()]);
redis.stop();
