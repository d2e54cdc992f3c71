// Runs two tasks of a file until it is killed. `again` may run again afterwards, and `once` may
// not.
import { TaskManager } from 'koa-taskflow';

const tasks = new TaskManager({ database: process.argv[2] ?? '', logger: false });
let running = 0;
const forEver = () =>
  new Promise(() => {
    running += 1;
    if (running === 2) console.log('running');
  });
const again = tasks.task('again', forEver, { requeueOnInterrupt: true });
const once = tasks.task('once', forEver);
await tasks.start();
await again.enqueue();
await once.enqueue();
