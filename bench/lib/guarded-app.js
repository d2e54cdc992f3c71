import { createServer } from 'node:http';
import jwt from 'jsonwebtoken';
import Koa from 'koa';
import koaJwt from 'koa-jwt';
import { createAuth, loginRoutes, requireAuth, sessionToken } from '../../dist/auth/index.js';

const [kind = 'bare'] = process.argv.slice(2);
const secret = 'a-secret-key-of-the-bench-0123456789-abcdef';
const app = new Koa();
// Without a guard the same bytes are sent, so that reading them is no difference.
let token = 'x'.repeat(360);

if (kind === 'koa-jwt') {
  app.use(koaJwt({ secret }));
  token = jwt.sign({ sub: 'admin' }, secret, { expiresIn: '1h' });
}
if (kind === 'taskflow') {
  const auth = createAuth({ strategies: ['admin', 'secret'], secretKey: secret, logger: false });
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use(requireAuth('401'));
}
app.use((ctx) => {
  ctx.body = { ok: true };
});

const server = createServer(app.callback());
server.listen(0, '127.0.0.1', async () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const url = `http://127.0.0.1:${port}`;
  if (kind === 'taskflow') {
    const body = JSON.stringify({ username: 'admin', password: 'secret' });
    const answer = await fetch(`${url}/tasks/auth/login`, {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/json' },
    });
    ({ token } = await answer.json());
  }
  console.log(JSON.stringify({ url: `${url}/x`, headers: { Authorization: `Bearer ${token}` } }));
});
