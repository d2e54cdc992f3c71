// Serves the tasks of a file, and says how much its memory has grown at most since it was warm.
import { createServer } from 'node:http';
import Koa from 'koa';
import { TaskManager, taskAdmin } from '../../dist/index.js';

const [database = ''] = process.argv.slice(2);
const tasks = new TaskManager({ database, logger: false });
await tasks.start({ run: false });
const app = new Koa();
app.silent = true;
app.use(taskAdmin(tasks, { logger: false }));
const server = createServer(app.callback());
server.listen(0, '127.0.0.1', () =>
  console.log(String(/** @type {import('node:net').AddressInfo} */ (server.address()).port)),
);

const rss = () => process.memoryUsage.rss() / 2 ** 20;
let warm = 0;
let most = 0;
setInterval(() => {
  most = Math.max(most, rss());
}, 20);
process.stdin.on('data', () => {
  console.log(String(Math.max(0, most - warm)));
  warm = rss();
  most = warm;
});
