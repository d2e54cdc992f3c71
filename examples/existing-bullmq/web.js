// The dashboard and its login for BullMQ queues that exist already. worker.js is a plain BullMQ app that fills them. README.md says
// how to start both.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { Queue } from 'bullmq';
import Koa from 'koa';
import { taskAdmin } from 'koa-taskflow';
import { attachQueues } from 'koa-taskflow/bullmq';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');
const connection = {
  host: process.env.REDIS_HOST ?? '127.0.0.1',
  port: Number(process.env.REDIS_PORT ?? 6379),
};

const queues = ['mail', 'pages'].map((name) => new Queue(name, { connection }));
// BullMQ prints the whole error each time that it cannot connect. attachQueues logs one line.
for (const queue of queues) queue.on('error', () => {});
const tasks = attachQueues(queues);

const app = new Koa();
// Sessions are in Redis, so all web processes must have the same key.
const secretKey = process.env.TASKFLOW_SECRET_KEY;
app.use(
  taskAdmin(tasks, {
    auth: ['admin', password],
    secretKey,
    title: 'Existing queues',
    displayFuncArgs: true,
  }),
);

const server = createServer(app.callback());
server.headersTimeout = 15_000;
server.requestTimeout = 30_000;

async function stop() {
  console.log('Stopping. Press Ctrl+C again to stop at once.');
  server.close();
  server.closeAllConnections();
  await tasks.close();
  // While Redis is unreachable, BullMQ waits for it before it closes a queue.
  await Promise.race([Promise.all(queues.map((queue) => queue.close())), setTimeout(1000)]);
  // What could not be closed in this time would keep the process alive.
  process.exit();
}
process.once('SIGTERM', stop).once('SIGINT', stop);

server.on('error', (error) => {
  console.error(
    /** @type {NodeJS.ErrnoException} */ (error).code === 'EADDRINUSE'
      ? `Port ${port} is in use. Set another one in the environment variable PORT.`
      : error.message,
  );
  process.exitCode = 1;
  void stop();
});

server.listen(port, '127.0.0.1', () => {
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(`Dashboard   http://127.0.0.1:${address.port}/tasks/dashboard`);
  console.log(`Sign in     admin / ${process.env.ADMIN_PASSWORD ? '(ADMIN_PASSWORD)' : password}`);
  console.log(`Redis       ${connection.host}:${connection.port}`);
});
