// Runs or enqueues tasks as BullMQ jobs until it is killed. Prints the output of its handlers and
// its log.
import { TaskManager, taskContext, taskLog, taskProgress } from 'koa-taskflow';

/**
 * The built files, which the compiler does not need to be there.
 * @param {string} path
 */
const built = (path) => import(String(new URL(`../../../dist/${path}`, import.meta.url)));
const { JobEngine } = /** @type {typeof import('../../../src/engines/bullmq/job-engine.js')} */ (
  await built('engines/bullmq/job-engine.js')
);
const { loggerOption } = /** @type {typeof import('../../../src/options.js')} */ (
  await built('options.js')
);

const [options = '{}'] = process.argv.slice(2);
const {
  port,
  prefix = 'jobs',
  run = true,
  lockDuration = 2000,
  stalledInterval = 300,
  concurrency = 20,
  amount = 0,
} = JSON.parse(options);

/** @param {string} level */
const print =
  (level) =>
  (/** @type {any} */ fields, /** @type {string | undefined} */ message = undefined) =>
    console.log(
      `log ${level} ${message} ${JSON.stringify({ ...fields, err: fields?.err?.message })}`,
    );
const logger = loggerOption('logger', {
  debug() {},
  info: print('info'),
  warn: print('warn'),
  error: print('error'),
});
const engine = new JobEngine({
  connection: { host: '127.0.0.1', port },
  ...{ prefix, logger, lockDuration, stalledInterval },
  kept: { age: 604_800, count: 100_000 },
  statistics: { minutes: 604_800_000, hours: 34_560_000_000 },
});
const tasks = new TaskManager({ engine, logger, concurrency });

/** @param {number} ms */
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** @param {string} what */
const say = (what) => console.log(`${what} ${taskContext().id}`);
/** @param {number} ms */
const slow = async (ms) => {
  say('began');
  const { signal } = taskContext();
  signal.addEventListener('abort', () => say('aborted'));
  // It ignores its signal but ends soon after.
  await Promise.race([
    wait(ms),
    new Promise((resolve) => signal.addEventListener('abort', () => setTimeout(resolve, 300))),
  ]);
  say('did');
};
const once = tasks.task('once', slow);
const again = tasks.task('again', slow, { requeueOnInterrupt: true, maxInterrupts: 20 });
tasks.task('chatty', async (/** @type {number} */ ms) => {
  say('began');
  for (let n = 0; n < ms / 50; n++) {
    taskLog(`line ${n}`);
    taskProgress(n / (ms / 50));
    await wait(50);
  }
  say('did');
});
tasks.task('block', (/** @type {number} */ ms) => {
  say('began');
  const end = Date.now() + ms;
  while (Date.now() < end);
  say('did');
});

process.on('unhandledRejection', (error) => console.log(`unhandled ${error}`));
process.on('SIGTERM', async () => {
  await tasks.stop({ timeout: 1 });
  console.log('stopped');
  process.exit();
});
await tasks.start({ run });
console.log('started');
for (let n = 0; n < amount; n++) {
  const [name, task] = n % 2 ? ['again', again] : ['once', once];
  for (;;) {
    try {
      console.log(`stored ${name} ${await task.enqueue((n % 5) * 60)}`);
      break;
    } catch {
      await wait(100);
    }
  }
}
if (amount > 0) console.log('enqueued');
