// Serves the tasks of a file on a port without a login, until it is killed.
import Koa from 'koa';
import { TaskManager, taskAdmin } from 'koa-taskflow';

const [database, port] = process.argv.slice(2);
const tasks = new TaskManager({ database, logger: false });
const app = new Koa();
app.silent = true;
app.use(taskAdmin(tasks, { logger: false }));
await tasks.start({ run: false });
app.listen(Number(port), '127.0.0.1', () => console.log('listening'));
