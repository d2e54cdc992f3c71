// Enqueues and runs tasks while the writer thread is ended repeatedly, and prints their outcomes.
import { syncBuiltinESMExports } from 'node:module';
import workerThreads from 'node:worker_threads';

const [database = '', rounds = '8'] = process.argv.slice(2);
const points = ['before a transaction', 'before a commit', 'after a transaction', 'at an answer'];
/** The number of the point at which the thread ends, from 1 on. 0 lets it run. */
const order = new Int32Array(new SharedArrayBuffer(4));
let threads = 0;
workerThreads.Worker = class extends workerThreads.Worker {
  /**
   * @param {URL} file
   * @param {import('node:worker_threads').WorkerOptions} options
   */
  constructor(file, options) {
    super(new URL('mortal-thread.js', import.meta.url), {
      ...options,
      workerData: { ...options.workerData, file: file.href, order, points },
    });
    threads++;
  }
};
syncBuiltinESMExports();
const { TaskManager, taskContext } = await import('koa-taskflow');

const fatal = { uncaughtException: 0, unhandledRejection: 0 };
process.on('uncaughtException', () => void fatal.uncaughtException++);
process.on('unhandledRejection', () => void fatal.unhandledRejection++);

/** @type {string[]} */
const lines = [];
/**
 * @param {object} _fields
 * @param {string} message
 */
const note = (_fields, message) => void lines.push(message);
const logger = /** @type {any} */ ({ debug() {}, info: note, warn: note, error: note });
/** @param {number} ms */
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const tasks = new TaskManager({ database, logger, concurrency: 20, pollInterval: 3600 });
/** @type {Map<string, number>} */
const runs = new Map();
const work = tasks.task('work', async () => {
  const { id } = taskContext();
  runs.set(id, (runs.get(id) ?? 0) + 1);
  await wait(Math.random() * 10);
});
await tasks.start();

/** @type {string[]} */
const acknowledged = [];
const codes = new Set();
for (let round = 0; round < Number(rounds); round++) {
  for (let n = 0; n < 10; n++) {
    if (n === 2) Atomics.store(order, 0, 1 + (round % points.length));
    const enqueued = await Promise.allSettled([
      work.enqueue(),
      work.enqueue(),
      work.with({ runIn: 0.05 }).enqueue(),
    ]);
    for (const each of enqueued) {
      if (each.status === 'fulfilled') acknowledged.push(each.value);
      else codes.add(each.reason.code);
    }
    await wait(5);
  }
  // Waits until the new thread answers.
  while (
    await work.enqueue().then(
      (id) => void acknowledged.push(id),
      () => true,
    )
  )
    await wait(20);
}
const end = Date.now() + 20_000;
const open = async () => (await tasks.find({ status: ['pending', 'running'], limit: 1 })).total;
while ((await open()) > 0 && Date.now() < end) await wait(20);
const states = new Set();
for (const id of acknowledged) states.add((await tasks.get(id))?.status);
await tasks.stop({ timeout: 5 });
console.log(
  JSON.stringify({
    threads,
    acknowledged: acknowledged.length,
    states: [...states],
    left: await open().catch((error) => error.code),
    maxRuns: Math.max(...runs.values()),
    codes: [...codes],
    failed: lines.filter((line) => line === 'the thread that writes the task database failed')
      .length,
    worksAgain: lines.filter(
      (line) => line === 'the thread that writes the task database works again',
    ).length,
    ...fatal,
  }),
);
