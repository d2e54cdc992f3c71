// Fills a file with something of everything, prints what is in it, and ends; with `stay` it ends when it is told to.
import { TaskManager } from 'koa-taskflow';

const [database = '', waiting = '0', stay] = process.argv.slice(2);
const tasks = new TaskManager({ database, logger: false });
const sum = tasks.task('sum', (/** @type {number} */ a, /** @type {number} */ b) => a + b, { tags: { tenant: '7' } });
const bad = tasks.task('bad', () => {
  throw new Error('broken');
});
tasks.schedule('nightly', sum, { cron: '0 3 * * *', args: [1, 2] });
/** @type {import('koa-taskflow').DeclaredTask<[n: number]>} */
const held = tasks.define('held', { queue: 'later' });
await tasks.start();
await sum.enqueue(1, 2);
await bad.enqueue();
await held.enqueueMany(Array.from({ length: Number(waiting) }, (_, n) => /** @type {[number]} */ ([n])));
await tasks.control({ action: 'pause', queue: 'slow' }, { actor: 'ada', reason: 'a try' });
await tasks.store.append('audit', { action: 'login' }, 3600);
await tasks.store.append('audit', { action: 'cancel' }, 3600);
for (let open = true; open; ) {
  const { counts } = await tasks.aggregate('pulse');
  open = counts.success + counts.failed < 2;
}
const [page, kinds, said] = [await tasks.find({ limit: 500 }), await tasks.aggregate('failures', { limit: 5 }), await tasks.describe()];
console.log(JSON.stringify({ page, kinds, said, counts: (await tasks.aggregate('metrics', {})).counts }));
if (stay) await new Promise((resolve) => process.once('SIGTERM', resolve));
await tasks.stop();
