// The app that bench/slow-disk.js asks: a route that has nothing to do with tasks, and one that
// enqueues.
import { createServer } from 'node:http';
import Koa from 'koa';
import { TaskManager } from '../../dist/index.js';

const tasks = new TaskManager({ database: process.argv[2], logger: false });
const noop = tasks.task('noop', () => {});
await tasks.start();
const app = new Koa();
app.use(async (ctx) => {
  if (ctx.path === '/enqueue') await noop.enqueue();
  ctx.body = 'pong';
});
const server = createServer(app.callback());
server.listen(0, '127.0.0.1', () =>
  console.log(/** @type {import('node:net').AddressInfo} */ (server.address()).port),
);
