import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { createChannel, createSession } from 'better-sse';
import Koa from 'koa';
import { sseStream } from '../../dist/index.js';

const [kind = 'taskflow'] = process.argv.slice(2);
const event = () => ({ at: Date.now(), rows: Array.from({ length: 10 }, (_, n) => ({ id: n, text: 'x'.repeat(290) })) });
const app = new Koa();

if (kind === 'better-sse') {
  const channel = createChannel();
  setInterval(() => channel.broadcast(event(), 'tick'), 100);
  app.use(async (ctx) => {
    ctx.respond = false;
    ctx.res.statusCode = 200;
    channel.register(await createSession(ctx.req, ctx.res));
  });
} else {
  async function* ticks() {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      yield { event: 'tick', data: event() };
    }
  }
  app.use(sseStream(ticks(), { streams: { perUser: 10_000 }, logger: false }));
}

const server = createServer(app.callback());
server.listen(0, '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}/`),
);

/** @type {NodeJS.CpuUsage | undefined} */
let before;
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'start') before = process.cpuUsage();
  const used = process.cpuUsage(before);
  console.log(line === 'start' ? 'started' : used.user + used.system);
});
