// A login whose users are in a database of the app. README.md says how to start it.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Koa from 'koa';
import { createAuth, loginRoutes, requireAuth, sessionOf, sessionToken } from 'koa-taskflow/auth';
import { database } from 'koa-taskflow/strategies/database';
import { addUser, findUser } from './users.js';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');
const isFirstStart = findUser('admin') === undefined;
if (isFirstStart) await addUser('admin', password, 'admin');

const strategies = database((name) => {
  const user = findUser(name);
  return user && { hash: user.hash, username: user.name, roles: [user.role] };
});
const auth = createAuth({ strategies, home: '/', title: 'Database', logger: false });

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
  if (isFirstStart)
    console.log(`Sign in   admin / ${process.env.ADMIN_PASSWORD ? '(ADMIN_PASSWORD)' : password}`);
});
