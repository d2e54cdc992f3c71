// A login whose users are in an LDAP directory. README.md says how to start it.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Koa from 'koa';
import {
  createAuth,
  loginRoutes,
  requireAuth,
  StrategyRegistry,
  sessionOf,
  sessionToken,
  staticUser,
} from 'koa-taskflow/auth';
import { ldap } from 'koa-taskflow/strategies/ldap';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');
const url = process.env.LDAP_URL ?? 'ldap://127.0.0.1:3890';

const directory = ldap({
  url,
  search: {
    base: 'ou=people,dc=example,dc=com',
    filter: '(uid={username})',
    bindDN: 'cn=tasks,dc=example,dc=com',
    password: process.env.LDAP_PASSWORD ?? 'service-secret',
  },
  roles: { map: { sre: 'operator' }, otherwise: ['viewer'] },
  groups: { base: 'ou=groups,dc=example,dc=com', nested: true },
});
const strategies = new StrategyRegistry()
  .register('admin', staticUser('admin', password))
  .register('ldap', directory);
const auth = createAuth({ strategies, home: '/', title: 'LDAP' });

const app = new Koa();
app.use(sessionToken(auth));
app.use(loginRoutes(auth));
app.use(requireAuth('redirect'));
app.use((ctx) => {
  const { username, strategy, roles } = sessionOf(ctx);
  ctx.body = { username, strategy, roles };
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
  console.log(`Page        http://127.0.0.1:${address.port}/`);
  console.log(`Sign in     admin / ${process.env.ADMIN_PASSWORD ? '(ADMIN_PASSWORD)' : password}`);
  console.log(`Directory   ${url}`);
});
