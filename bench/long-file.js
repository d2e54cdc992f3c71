// What a long history costs who writes: enqueue and run on a file with so many ended tasks, beside
// an empty one in interleaved rounds; then what deleting a tenth of it costs the event loop.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { TaskManager } from '../dist/index.js';
import { makeHistory } from './lib/history.js';
import { median } from './lib/rounds.js';

const ended = Number(process.env.HISTORY ?? 1_000_000);
const rounds = Number(process.env.ROUNDS ?? 5);
const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-long-'));
const long = join(folder, 'long.db');
await makeHistory(long, ended, 0);

/**
 * Tasks a second that a hundred callers store, and that are run to their end.
 * @param {string} database
 */
async function measure(database) {
  const tasks = new TaskManager({ database, logger: false, concurrency: 100 });
  const stored = /** @type {import('../dist/index.js').DeclaredTask<[n: number]>} */ (
    tasks.define('stored')
  );
  await tasks.start();
  const hundredCallers = async (/** @type {(n: number) => Promise<unknown>} */ call) =>
    void (await Promise.all(
      Array.from({ length: 100 }, async () => {
        for (let n = 0; n < 100; n++) await call(n);
      }),
    ));
  const began = performance.now();
  await hundredCallers(stored.enqueue);
  const enqueued = performance.now();
  /** @type {() => void} */ let resolve = () => {};
  const done = /** @type {Promise<void>} */ (
    new Promise((settle) => {
      resolve = () => settle(undefined);
    })
  );
  let left = 10_000;
  stored.handle(() => {
    left -= 1;
    if (left === 0) resolve();
  });
  await done;
  const ran = performance.now();
  await tasks.stop();
  return { enqueue: 1e7 / (enqueued - began), drain: 1e7 / (ran - enqueued) };
}

/** @type {{ enqueue: number, drain: number }[]} */ const ratios = [];
for (let round = 0; round < rounds; round++) {
  const empty = join(folder, `empty-${round}.db`);
  const [first, second] = round % 2 === 0 ? [long, empty] : [empty, long];
  const [one, two] = [await measure(first), await measure(second)];
  const [full, none] = round % 2 === 0 ? [one, two] : [two, one];
  ratios.push({ enqueue: full.enqueue / none.enqueue, drain: full.drain / none.drain });
}
console.log(
  `| on a file with ${ended.toLocaleString('en')} ended tasks | ÷ on an empty one |\n| --- | --- |`,
);
console.log(
  `| durable enqueue, 100 callers | ${median(ratios.map(({ enqueue }) => enqueue)).toFixed(2)} |`,
);
console.log(`| run of 10,000 that wait | ${median(ratios.map(({ drain }) => drain)).toFixed(2)} |`);

const keep = Math.round(ended * 0.9);
const tasks = new TaskManager({ database: long, logger: false, retentionCount: keep });
await tasks.start({ run: false });
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
const began = performance.now();
const success = async () => (await tasks.aggregate('statsSnapshot')).counts;
for (let counts = await success(); counts.success + counts.failed > keep; counts = await success())
  await setTimeout(100);
delay.disable();
const [worst, usual] = [delay.max / 1e6, delay.percentile(99) / 1e6];
console.log(
  `\nDeleting a tenth of it took ${((performance.now() - began) / 1000).toFixed(0)} s, with the event loop at most ${worst.toFixed(1)} ms late (99 %: ${usual.toFixed(1)} ms).`,
);
await tasks.stop();
rmSync(folder, { recursive: true, force: true });
