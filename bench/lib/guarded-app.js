import { createServer } from 'node:http';
import jwt from 'jsonwebtoken';
import Koa from 'koa';
import koaJwt from 'koa-jwt';
import {
  createAuth,
  loginRoutes,
  memoryStore,
  requireAuth,
  StrategyRegistry,
  sessionToken,
  staticUser,
} from '../../dist/auth/index.js';
import { apiTokens } from '../../dist/auth/strategies/api-tokens/api-tokens.js';
import { trustedHeader } from '../../dist/auth/strategies/trusted-header/trusted-header.js';

const [kind = 'bare'] = process.argv.slice(2);
const secret = 'a-secret-key-of-the-bench-0123456789-abcdef';
const app = new Koa();
// Without a guard the same bytes are sent, so that reading them is no difference.
let headers = /** @type {Record<string, string>} */ ({
  Authorization: `Bearer ${'x'.repeat(360)}`,
});

if (kind === 'koa-jwt') {
  app.use(koaJwt({ secret }));
  headers.Authorization = `Bearer ${jwt.sign({ sub: 'admin' }, secret, { expiresIn: '1h' })}`;
}
const isOurs = kind !== 'koa-jwt' && kind !== 'bare';
const strategies = new StrategyRegistry().register('default', staticUser('admin', 'secret'));
const tokens = apiTokens();
// What is registered before the guard: nothing, or the strategies that identify each request.
if (kind.startsWith('proxy'))
  strategies.register('proxy', trustedHeader({ proxies: ['127.0.0.1'] }));
if (kind.startsWith('tokens')) strategies.register('tokens', tokens);
if (isOurs) {
  const auth = createAuth({ strategies, secretKey: secret, store: memoryStore(), logger: false });
  app.use(sessionToken(auth));
  app.use(loginRoutes(auth));
  app.use(requireAuth('401'));
}
app.use((ctx) => {
  ctx.body = { ok: true };
});

const serve = app.callback();
const server = createServer((request, response) => {
  if (request.url !== '/used') return void serve(request, response);
  const { user, system } = process.cpuUsage();
  response.end(String(user + system));
});
server.listen(0, '127.0.0.1', async () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const url = `http://127.0.0.1:${port}`;
  if (isOurs) {
    const body = JSON.stringify({ username: 'admin', password: 'secret' });
    const answer = await fetch(`${url}/tasks/auth/login`, {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/json' },
    });
    const { token } = await answer.json();
    const isCookie = kind.endsWith('cookie');
    headers = isCookie
      ? { Cookie: `taskflow_token=${token}` }
      : { Authorization: `Bearer ${token}` };
  }
  // An identity comes without a cookie: from the header of a proxy, or from a token.
  if (kind === 'proxy') headers = { 'Remote-User': 'admin' };
  if (kind === 'tokens') {
    const { token } = await tokens.create({ name: 'bench', owner: 'default:admin' });
    headers = { Authorization: `Bearer ${token}` };
  }
  console.log(JSON.stringify({ url: `${url}/x`, headers }));
});
