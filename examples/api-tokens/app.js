// Background tasks that scripts use with API tokens. README.md says how to start it.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Koa from 'koa';
import { StrategyRegistry, staticUser, TaskManager, taskAdmin } from 'koa-taskflow';
import { apiTokens } from 'koa-taskflow/strategies/api-tokens';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');

// The file also has the tokens. Of each one, it has only a hash.
const tasks = new TaskManager({ database: process.env.DATABASE ?? 'tokens.db', logger: false });
const sendReport = tasks.task('send_report', async () => {});
const auth = new StrategyRegistry()
  .register('admin', staticUser('admin', password))
  .register('tokens', apiTokens());

const app = new Koa();
app.use(taskAdmin(tasks, { auth, title: 'API tokens', logger: false }));
app.use((ctx) => ctx.redirect('/tasks/dashboard'));

await tasks.start();
await sendReport.enqueue();

const server = createServer(app.callback());
server.headersTimeout = 15_000;
server.requestTimeout = 30_000;

async function stop() {
  server.close();
  await tasks.stop({ timeout: 2 });
  server.closeAllConnections();
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
  console.log(`Dashboard  http://127.0.0.1:${address.port}/tasks/dashboard`);
  console.log(`Sign in    admin / ${process.env.ADMIN_PASSWORD ? '(ADMIN_PASSWORD)' : password}`);
});
