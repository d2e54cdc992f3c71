// The dashboard and its login over queues of BullMQ that are there already: run it with
// `node examples/existing-bullmq/web.js`, beside a Redis and worker.js, then open the address it prints.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { Queue } from 'bullmq';
import Koa from 'koa';
import { taskAdmin } from 'koa-taskflow';
import { attachQueues } from 'koa-taskflow/bullmq';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');
const connection = { host: process.env.REDIS_HOST ?? '127.0.0.1', port: Number(process.env.REDIS_PORT ?? 6379) };

const queues = ['mail', 'pages'].map((name) => new Queue(name, { connection }));
const tasks = attachQueues(queues);

const app = new Koa();
// With one key for all of them, any number of such processes act as one: their sessions are in the Redis.
const secretKey = process.env.TASKFLOW_SECRET_KEY;
app.use(taskAdmin(tasks, { auth: ['admin', password], secretKey, title: 'Existing queues', displayFuncArgs: true }));

const server = createServer(app.callback());
server.headersTimeout = 15_000;
server.requestTimeout = 30_000;
server.listen(port, '127.0.0.1', () => {
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(`Dashboard   http://127.0.0.1:${address.port}/tasks/dashboard`);
  console.log(`Sign in     admin / ${process.env.ADMIN_PASSWORD ? '(ADMIN_PASSWORD)' : password}`);
});

for (const signal of ['SIGTERM', 'SIGINT'])
  process.once(signal, async () => {
    server.close();
    server.closeAllConnections();
    await tasks.close();
    await Promise.all(queues.map((queue) => queue.close()));
  });
