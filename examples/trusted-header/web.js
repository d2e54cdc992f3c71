// An app behind an nginx that signs users in. README.md says how to start it.
import { createServer } from 'node:http';
import Koa from 'koa';
import { createAuth, loginRoutes, requireAuth, sessionOf, sessionToken } from 'koa-taskflow/auth';
import { trustedHeader } from 'koa-taskflow/strategies/trusted-header';

const port = Number(process.env.PORT ?? 3000);

const strategies = trustedHeader({
  proxies: ['127.0.0.1'],
  groups: { header: 'Remote-Groups' },
  roles: { map: { sre: 'operator', support: 'viewer' } },
  secret: { header: 'X-Proxy-Secret', value: 'only-nginx-and-the-app-know-this' },
});
const auth = createAuth({ strategies, home: '/', title: 'Trusted header', logger: false });

const app = new Koa({ proxy: true, maxIpsCount: 1 });
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
  console.log(`App   http://127.0.0.1:${address.port}/`);
  console.log('Open  http://127.0.0.1:8080/, which is nginx');
});
