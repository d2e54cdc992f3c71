// Background tasks behind the login of an OpenID Connect provider. README.md says how to start it.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Koa from 'koa';
import { StrategyRegistry, staticUser, TaskManager, taskAdmin, taskLog } from 'koa-taskflow';
import { oidc } from 'koa-taskflow/strategies/oidc';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');

const tasks = new TaskManager({ database: process.env.DATABASE ?? 'oidc.db', logger: false });
const writeLetter = tasks.task('write_letter', async (/** @type {string} */ name) => {
  taskLog('writing', { name });
});

const sso = oidc({
  issuer: process.env.OIDC_ISSUER ?? 'http://127.0.0.1:3001',
  clientId: process.env.OIDC_CLIENT_ID ?? 'example',
  clientSecret: process.env.OIDC_CLIENT_SECRET ?? 'example-secret',
  scopes: process.env.OIDC_SCOPES?.split(' ') ?? ['openid', 'profile', 'email', 'groups'],
  roles: { from: 'groups', map: { sre: 'operator', support: 'viewer' } },
  label: 'Example',
});
const strategies = new StrategyRegistry()
  .register('sso', sso)
  // Works while the provider is down.
  .register('admin', staticUser('admin', password));

const app = new Koa();
app.use(taskAdmin(tasks, { auth: strategies, title: 'OpenID Connect' }));
app.use((ctx) => ctx.redirect('/tasks/dashboard'));

await tasks.start();
await writeLetter.enqueue('Ann');

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
  console.log(`Dashboard  http://127.0.0.1:${port}/tasks/dashboard`);
  console.log(
    `Without the provider: admin / ${process.env.ADMIN_PASSWORD ? '(ADMIN_PASSWORD)' : password}`,
  );
});
