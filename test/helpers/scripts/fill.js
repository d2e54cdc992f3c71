// Fills a file with some of all data that `move` copies, prints the contents, and ends. With
// `stay`, it ends on SIGTERM.
import { TaskManager, taskLog } from 'koa-taskflow';

const [database = '', waiting = '0', stay] = process.argv.slice(2);
const tasks = new TaskManager({
  database,
  logger: false,
  encryptionKeys: ['a key for the arguments of tasks in tests'],
});
const sum = tasks.task('sum', (/** @type {number} */ a, /** @type {number} */ b) => a + b, {
  tags: { tenant: '7' },
});
const bad = tasks.task('bad', () => {
  throw new Error('broken');
});
const flaky = tasks.task(
  'flaky',
  (/** @type {string} */ _file) => {
    taskLog('trying', { step: 1 });
    throw new TypeError('not yet');
  },
  { retries: 3, delay: 3600, deadline: 86_400, tags: { tenant: '8' } },
);
tasks.schedule('nightly', sum, { cron: '0 3 * * *', args: [1, 2] });
tasks.schedule('minutely', sum, { every: 60, args: [3, 4] });
tasks.schedule('resting', sum, { every: 60, args: [5, 6] });
/** @type {import('koa-taskflow').DeclaredTask<[n: number]>} */
const held = tasks.define('held', { queue: 'later' });
/** @type {import('koa-taskflow').DeclaredTask<[n: number]>} */
const ranked = tasks.define('ranked', { queue: 'ranked' });
await tasks.start();
const done = await sum.with({ idempotencyKey: 'done' }).enqueue(1, 2);
const deleted = await sum.with({ idempotencyKey: 'deleted', queue: 'rare' }).enqueue(5, 6);
const open = await held.with({ idempotencyKey: 'open', idempotencyWindow: 3600 }).enqueue(-1);
await bad.enqueue();
const retried = await flaky.enqueue('cat.jpg');
for (const priority of [0, 5, 0, 10]) await ranked.with({ priority }).enqueue(priority);
await held.enqueueMany(
  Array.from({ length: Number(waiting) }, (_, n) => /** @type {[number]} */ ([n])),
);
await tasks.control({ action: 'pause', queue: 'slow' }, { actor: 'ada', reason: 'a try' });
await tasks.control(
  { action: 'pause', schedule: 'resting' },
  { actor: 'ada', reason: 'too often' },
);
await tasks.store.append('audit', { action: 'login' }, 3600);
await tasks.store.append('audit', { action: 'cancel' }, 3600);
await tasks.store.set('revoked:alice', { at: 1 }, 3600);
await tasks.store.set('gone', 1, 0.001);
for (let busy = true; busy; ) {
  const { counts } = await tasks.aggregate('statsSnapshot');
  busy = counts.success + counts.failed < 3 || (await tasks.get(retried))?.attempts.length !== 1;
}
await tasks.control({ action: 'delete', ids: [deleted] }, { actor: 'ada' });
console.log(
  JSON.stringify({
    said: await tasks.describe(),
    done,
    deleted,
    open,
    retried: await tasks.get(retried),
  }),
);
if (stay) await new Promise((resolve) => process.once('SIGTERM', resolve));
await tasks.stop();
