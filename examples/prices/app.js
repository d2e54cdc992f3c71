// Live prices for signed-in users: a stream in an app without tasks. README.md says how to start it.
import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import Router from '@koa/router';
import Koa from 'koa';
import {
  createAuth,
  emitterEvents,
  loginRoutes,
  requireAuth,
  sessionToken,
  sseStream,
} from 'koa-taskflow';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');

/** Stands for the part of your app that knows the prices. */
const market = new EventEmitter();
let cents = 10_000;
setInterval(() => {
  cents = Math.max(1, cents + Math.round(Math.random() * 200 - 100));
  market.emit('price', { share: 'KOA', cents, at: new Date() });
}, 500).unref();

const page = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Prices</title>
<h1>KOA</h1><p><output id="price">…</output></p><p id="state">connecting</p>
<script type="module" src="/prices.js"></script></html>`;
const script = `
const [price, state] = ['price', 'state'].map((id) => document.getElementById(id));
const source = new EventSource('/prices');
source.addEventListener('open', () => { state.textContent = 'live'; });
source.addEventListener('error', () => { state.textContent = 'offline'; });
source.addEventListener('price', ({ data }) => { price.textContent = (JSON.parse(data).cents / 100).toFixed(2); });
source.addEventListener('session', () => { location.assign('/'); });
`;

const auth = createAuth({ strategies: ['admin', password], home: '/', logger: false });
const router = new Router();
router.get('/', requireAuth('redirect'), (ctx) => {
  ctx.set('Content-Security-Policy', "default-src 'self'");
  ctx.body = page;
});
router.get('/prices.js', requireAuth('401'), (ctx) => {
  ctx.type = 'text/javascript';
  ctx.body = script;
});
router.get(
  '/prices',
  requireAuth('401'),
  sseStream(emitterEvents(market, ['price']), { access: auth, logger: false }),
);

const app = new Koa();
app.use(sessionToken(auth));
app.use(loginRoutes(auth));
app.use(/** @type {Koa.Middleware} */ (router.routes()));

const server = createServer(app.callback());
// These limits end the connections of slow clients. They do not end an open stream.
server.headersTimeout = 15_000;
server.requestTimeout = 30_000;

async function stop() {
  console.log('Stopping. Press Ctrl+C again to stop at once.');
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
  void stop();
});

server.listen(port, '127.0.0.1', () => {
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  console.log(`Prices    http://127.0.0.1:${address.port}/`);
  console.log(`Sign in   admin / ${process.env.ADMIN_PASSWORD ? '(ADMIN_PASSWORD)' : password}`);
});
