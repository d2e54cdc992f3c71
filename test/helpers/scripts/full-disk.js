// Enqueues until a write fails, prints the error, and continues until a write succeeds again. The
// parent process may limit the size of its files.
import { TaskManager } from 'koa-taskflow';

const [database = ''] = process.argv.slice(2);
process.on('SIGXFSZ', () => {});
const tasks = new TaskManager({ database, logger: false });
const note = tasks.task('note', (/** @type {string} */ text) => text.length);
await tasks.start();
console.log('started');
let failed = false;
for (;;) {
  try {
    console.log(await note.enqueue('x'.repeat(20_000)));
    if (failed) break;
  } catch (error) {
    const { code, message } = /** @type {import('koa-taskflow').TaskflowError} */ (error);
    if (!failed) console.log(`failed ${code} ${message}`);
    failed = true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
console.log('recovered');
await tasks.stop();
