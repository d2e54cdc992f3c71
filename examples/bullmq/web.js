// The web process: it enqueues tasks and shows the dashboard. worker.js runs the tasks. README.md says how to start both.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Router from '@koa/router';
import Koa from 'koa';
import { TaskflowError, taskAdmin } from 'koa-taskflow';
import { connection, makeReport, sendWelcome, tasks } from './tasks.js';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');

const app = new Koa();
app.use(async (ctx, next) => {
  try {
    await next();
  } catch (error) {
    if (!(error instanceof TaskflowError) || error.code !== 'ENGINE_UNAVAILABLE') throw error;
    ctx.status = 503;
    ctx.body = { error: 'Redis does not answer. Send the request again later.' };
  }
});

// Sessions are in Redis, so all web processes must have the same key.
const secretKey = process.env.TASKFLOW_SECRET_KEY;
app.use(
  taskAdmin(tasks, {
    auth: ['admin', password],
    secretKey,
    title: 'Tasks on Redis',
    displayFuncArgs: true,
  }),
);

const router = new Router();
router.post('/customers/:name', async (ctx) => {
  const { name = '' } = ctx.params;
  // The key makes it safe to send the request again: Redis may have stored a task although its answer did not arrive in time.
  const key = { idempotencyKey: name };
  const [mail, report] = await Promise.all([
    sendWelcome.with(key).enqueue(`${name}@example.com`),
    makeReport.with(key).enqueue(name, 60),
  ]);
  ctx.status = 202;
  ctx.body = { mail, report };
});
app.use(router.routes());

const server = createServer(app.callback());
server.headersTimeout = 15_000;
server.requestTimeout = 30_000;

async function stop() {
  console.log('Stopping. Press Ctrl+C again to stop at once.');
  server.close();
  server.closeAllConnections();
  await tasks.stop();
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

await tasks.start({ run: false });
server.listen(port, '127.0.0.1', () => {
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(`Dashboard   http://127.0.0.1:${address.port}/tasks/dashboard`);
  console.log(`Sign in     admin / ${process.env.ADMIN_PASSWORD ? '(ADMIN_PASSWORD)' : password}`);
  console.log(`Redis       ${connection.host}:${connection.port}`);
});
