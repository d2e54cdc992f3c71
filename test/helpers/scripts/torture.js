// Runs three kinds of tasks and enqueues them continuously until it is killed. Each handler first
// writes its start to a file. Each id is printed after its enqueue has resolved.
import { appendFileSync } from 'node:fs';
import { TaskManager, taskContext } from 'koa-taskflow';

const [database = '', starts = ''] = process.argv.slice(2);
const tasks = new TaskManager({ database, logger: false, concurrency: 5, pollInterval: 0.05 });
const work = async () => {
  const { id, name, attempt } = taskContext();
  appendFileSync(starts, `${name} ${id} ${attempt}\n`);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
};
const once = tasks.task('once', work);
const again = tasks.task('again', work, { requeueOnInterrupt: true, maxInterrupts: 1000 });
tasks.schedule('ticking', tasks.task('tick', work), { every: 0.2, overlap: true });
let enqueuing = true;
process.on('SIGTERM', () => {
  enqueuing = false;
});

await tasks.start();
console.log('started');
while (enqueuing) {
  const ids = await Promise.all([
    once.enqueue(),
    again.enqueue(),
    once.with({ runIn: 0.1 }).enqueue(),
  ]);
  console.log(ids.join('\n'));
  await new Promise((resolve) => setTimeout(resolve, 10));
}
