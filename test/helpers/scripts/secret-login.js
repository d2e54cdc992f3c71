// A process with a login whose password and keys are in files. It prints its URL and runs until it
// is killed. With the argument `once`, it only creates the login, and must then end on its own.
import { createServer } from 'node:http';
import Koa from 'koa';
import { createAuth, loginRoutes, secretFile, sessionToken } from 'koa-taskflow/auth';

const [passwordFile, keyFile, mode] = process.argv.slice(2);
const auth = createAuth({
  strategies: ['admin', secretFile(passwordFile)],
  secretKey: [secretFile(keyFile), ...(mode === 'once' ? [async () => 'k'.repeat(9)] : [])],
  maxSessions: 10_000,
  throttle: false,
  logger: false,
});
const app = new Koa();
app.use(sessionToken(auth));
app.use(loginRoutes(auth));
app.use((ctx) => {
  ctx.body = { name: ctx.state.session?.username ?? null };
});
if (mode === 'once') {
  // The login stays in use, so that its secrets are still followed.
  Object.assign(globalThis, { auth });
  console.log('created');
} else {
  const server = createServer(app.callback());
  server.listen(0, '127.0.0.1', () =>
    console.log(
      `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`,
    ),
  );
}
