// A login whose users are in an htpasswd file. README.md says how to start it.
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import Koa from 'koa';
import { createAuth, loginRoutes, requireAuth, sessionOf, sessionToken } from 'koa-taskflow/auth';
import { htpasswdFile } from 'koa-taskflow/strategies/htpasswd';

const port = Number(process.env.PORT ?? 3000);
const file = process.env.HTPASSWD_FILE || fileURLToPath(new URL('users.htpasswd', import.meta.url));

const strategies = htpasswdFile(file, { roles: { map: { ann: 'admin' }, otherwise: ['viewer'] } });
const auth = createAuth({ strategies, home: '/', title: 'htpasswd', logger: false });

const app = new Koa();
app.use(sessionToken(auth));
app.use(loginRoutes(auth));
app.use(requireAuth('redirect'));
app.use((ctx) => {
  const { username, roles } = sessionOf(ctx);
  ctx.body = { username, roles };
});

const server = createServer(app.callback());
server.headersTimeout = 15_000;
server.requestTimeout = 30_000;

function stop() {
  server.close();
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
  stop();
});

server.listen(port, '127.0.0.1', () => {
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(`Page      http://127.0.0.1:${address.port}/`);
  console.log('Sign in   ann / ann-secret');
  console.log(`Users     ${file}`);
});
