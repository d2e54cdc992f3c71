// Runs and enqueues tasks on a file or a Redis server until it is killed. Each id is printed after
// its enqueue has resolved.
import { TaskManager, taskContext } from 'koa-taskflow';
import { where } from './where.js';

const [place = '', mode = 'run', amount = '0'] = process.argv.slice(2);
const tasks = new TaskManager({ ...where(place), logger: false, concurrency: 20 });

/** @param {number} ms */
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const quick = tasks.task('quick', async (/** @type {number} */ _n) => wait(1));
tasks.task('once', async (/** @type {number} */ ms) => wait(ms));
tasks.task('again', async (/** @type {number} */ ms) => wait(ms), {
  requeueOnInterrupt: true,
  maxInterrupts: 2,
});
tasks.task('busy', (/** @type {number} */ ms) => {
  const end = Date.now() + ms;
  while (Date.now() < end);
});
tasks.task(
  'stuck',
  (/** @type {number} */ ms) =>
    void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms),
);
tasks.task('deadly', () => process.kill(process.pid, 'SIGKILL'), {
  requeueOnInterrupt: true,
  maxInterrupts: 2,
});
tasks.task(
  'obedient',
  () =>
    new Promise((_resolve, reject) =>
      taskContext().signal.addEventListener('abort', () => reject(new Error('aborted'))),
    ),
);

await tasks.start({ run: mode === 'run' });
console.log('started');
await Promise.all(
  Array.from({ length: Number(amount) }, async (_, n) => {
    await wait(n * 2);
    console.log(await quick.enqueue(n));
  }),
);
console.log('enqueued');
