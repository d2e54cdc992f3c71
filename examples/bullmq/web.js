// The web process: it enqueues tasks and serves the dashboard. worker.js runs the tasks. Start Redis, then one or more of
// these processes with `node examples/bullmq/web.js`.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Router from '@koa/router';
import Koa from 'koa';
import { taskAdmin } from 'koa-taskflow';
import { makeReport, sendWelcome, tasks } from './tasks.js';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');

const router = new Router();
router.post('/customers/:name', async (ctx) => {
  const { name = '' } = ctx.params;
  const [mail, report] = await Promise.all([sendWelcome.enqueue(`${name}@example.com`), makeReport.enqueue(name, 60)]);
  ctx.status = 202;
  ctx.body = { mail, report };
});

const app = new Koa();
// Sessions are in Redis, so all web processes must have the same key.
const secretKey = process.env.TASKFLOW_SECRET_KEY;
app.use(taskAdmin(tasks, { auth: ['admin', password], secretKey, title: 'Tasks on Redis', displayFuncArgs: true }));
app.use(router.routes());

await tasks.start({ run: false });
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
    await tasks.stop();
  });
