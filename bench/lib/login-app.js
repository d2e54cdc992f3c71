// The app that bench/logins.js hammers: a login with default settings, and a route that has nothing
// to do with it.
import { createServer } from 'node:http';
import Koa from 'koa';
import { createAuth, loginRoutes, sessionToken } from '../../dist/auth/index.js';

const auth = createAuth({
  strategies: ['admin', 'correct horse battery staple'],
  secretKey: 'bench-0123456789-abcdefghijklmnopqrstuvwxyz',
  logger: false,
});
const app = new Koa();
app.use(sessionToken(auth));
app.use(loginRoutes(auth));
app.use((ctx) => {
  ctx.body = ctx.path === '/memory' ? String(process.memoryUsage().rss) : 'pong';
});
const server = createServer(app.callback());
server.listen(0, '0.0.0.0', () =>
  console.log(/** @type {import('node:net').AddressInfo} */ (server.address()).port),
);
