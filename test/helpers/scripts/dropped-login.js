// A process whose server closes while calls of its login wait that no request needs any more: the
// check of a strategy, `find_user`, and the delay of a failed login. Prints how many milliseconds
// later the process ends on its own.
import { once } from 'node:events';
import { createServer } from 'node:http';
import Koa from 'koa';
import { createAuth, loginRoutes, StrategyRegistry, sessionToken } from 'koa-taskflow/auth';

const never = () => new Promise(() => {});
const waiting = new Set();
const strategies = new StrategyRegistry({ timeLimit: 600 }).register('directory', {
  authenticate_user() {
    waiting.add('delay');
    return false;
  },
  find_user(username) {
    if (username === 'bob') return { version: '1' };
    waiting.add('find_user');
    return never();
  },
  check() {
    waiting.add('check');
    return never();
  },
});
const auth = createAuth({ strategies, throttle: { floor: 10 }, logger: false });
const app = new Koa().use(sessionToken(auth)).use(loginRoutes(auth));
const server = createServer(app.callback()).listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
const login = `http://127.0.0.1:${port}/tasks/auth/login`;
const logIn = (/** @type {string} */ username) =>
  fetch(login, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ username, password: 'any', strategy: 'directory' }),
  });
const reached = async (/** @type {string} */ call) => {
  while (!waiting.has(call)) await new Promise((resolve) => setTimeout(resolve, 10));
};
await fetch(login);
await reached('check');
const dropped = [logIn('bob'), logIn('eve')];
await Promise.all([reached('delay'), reached('find_user')]);
server.close();
server.closeAllConnections();
await Promise.allSettled(dropped);
const closed = performance.now();
process.once('exit', () => console.log(Math.round(performance.now() - closed)));
