// A server of streams: ten events a second of so many kilobytes, by this project or by better-sse;
// or the changes of the tasks of a file.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { createChannel, createSession } from 'better-sse';
import Koa from 'koa';
import { sseStream, TaskManager, taskEvents } from '../../dist/index.js';

const [kind = 'taskflow', database = '', kilobytes = '3.2'] = process.argv.slice(2);
const text = 'x'.repeat(Math.round(Number(kilobytes) * 100) - 30);
const event = () => ({
  at: Date.now(),
  rows: Array.from({ length: 10 }, (_, n) => ({ id: n, text })),
});
const app = new Koa();
app.silent = true;
const options = /** @type {const} */ ({ streams: { perUser: 10_000 }, logger: false });

if (kind === 'better-sse') {
  const channel = createChannel();
  setInterval(() => channel.broadcast(event(), 'tick'), 100);
  app.use(async (ctx) => {
    ctx.respond = false;
    ctx.res.statusCode = 200;
    channel.register(await createSession(ctx.req, ctx.res));
  });
} else if (kind === 'tasks') {
  const tasks = new TaskManager({ database, logger: false });
  const noop = tasks.define('noop');
  await tasks.start({ run: false });
  // A hundred changes a second, one at a time.
  setInterval(() => void noop.with({ runIn: 86_400 }).enqueue(), 10);
  app.use(sseStream(taskEvents(tasks), options));
} else {
  async function* ticks() {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      yield { event: 'tick', data: event() };
    }
  }
  app.use(sseStream(ticks(), options));
}

const server = createServer(app.callback());
server.listen(0, '127.0.0.1', 4096, () =>
  console.log(String(/** @type {import('node:net').AddressInfo} */ (server.address()).port)),
);

/** @type {NodeJS.CpuUsage | undefined} */
let before;
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'start') before = process.cpuUsage();
  const { user, system } = process.cpuUsage(before);
  server.getConnections((_error, open) =>
    console.log(
      JSON.stringify({
        cpu: (user + system) / 1000,
        rss: process.memoryUsage.rss() / 2 ** 20,
        open,
      }),
    ),
  );
});
