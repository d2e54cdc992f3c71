// Takes the picture of docs/from-one-file-to-redis.md: the same tasks in the dashboard and in
// bull-board. It needs `npm run build` in the root folder and `npm install` in this one. Run it
// with `node bench/bull-board-picture.js`.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { KoaAdapter } from '@bull-board/koa';
import { Queue } from 'bullmq';
import Koa from 'koa';
import { bullmqEngine } from '../dist/engines/bullmq/index.js';
import { TaskManager, taskAdmin, taskContext, taskLog } from '../dist/index.js';
import { startChromium } from '../scripts/chromium.js';
import { startRedis } from './lib/redis.js';

const picture = fileURLToPath(new URL('../docs/images/bull-board.png', import.meta.url));
const width = 1200;
// The picture has room for a short stack only.
Error.stackTraceLimit = 3;

const redis = await startRedis();
const connection = { host: '127.0.0.1', port: redis.port };
const tasks = new TaskManager({
  engine: bullmqEngine({ connection, prefix: 'shop', logger: false }),
  logger: false,
  concurrency: 1,
});
const sendWelcome = tasks.task(
  'send_welcome',
  async (/** @type {string} */ address) => {
    taskLog(`sent to ${address}`);
    return { sent: address };
  },
  { queue: 'mail' },
);
const sendInvoice = tasks.task(
  'send_invoice',
  async (/** @type {string} */ address, /** @type {number} */ order) => {
    taskLog(`connecting to the mail server for ${address}`);
    throw new RangeError(`order ${order} has no address`);
  },
  { queue: 'mail' },
);
const sendNewsletter = tasks.task(
  'newsletter',
  async () => {
    await setTimeout(60_000, undefined, { signal: taskContext().signal });
  },
  { queue: 'mail' },
);

await tasks.start();
for (const name of ['ada', 'bob', 'eve']) await sendWelcome.enqueue(`${name}@example.com`);
await sendInvoice.enqueue('bob@example.com', 1042);
await sendInvoice.enqueue('eve@example.com', 1043);
await sendNewsletter.enqueue();
await sendWelcome.with({ runIn: 600 }).enqueue('zoe@example.com');
await sendWelcome.enqueue('max@example.com');
while ((await tasks.find({ status: ['running'] })).total === 0) await setTimeout(100);

const queue = new Queue('mail', { connection, prefix: '{shop}' });
const adapter = new KoaAdapter();
createBullBoard({
  queues: [new BullMQAdapter(queue)],
  serverAdapter: adapter.setBasePath('/board'),
});
const app = new Koa();
app.use(taskAdmin(tasks, { auth: null, title: 'Shop', displayFuncArgs: true, logger: false }));
app.use(adapter.registerPlugin());
const server = createServer(app.callback()).listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
const browser = await startChromium();

/**
 * @param {string} path
 * @param {number} height
 * @param {string} shown a selector of what is on the page once it has loaded
 */
async function picturePage(path, height, shown) {
  const page = await browser.newPage({
    viewport: { width, height },
    colorScheme: 'light',
    timezoneId: 'Europe/Berlin',
  });
  await page.goto(`http://127.0.0.1:${port}${path}`);
  await page.locator(shown).first().waitFor();
  await setTimeout(1500);
  return `data:image/png;base64,${(await page.screenshot()).toString('base64')}`;
}

const ours = await picturePage('/tasks/dashboard?view=tasks', 590, 'tr[data-task]');
const theirs = await picturePage('/board/queue/mail?status=failed', 470, 'text=send_invoice');
const both = await browser.newPage({ viewport: { width: width + 2, height: 100 } });
await both.setContent(`<style>
  body { margin: 0; font: 600 15px sans-serif; background: #fff; color: #333 }
  figcaption { padding: 10px 4px 6px } figure { margin: 0 } img { display: block; border: 1px solid #bbb }
  </style><figure><figcaption>koa-taskflow</figcaption><img src="${ours}"></figure>
  <figure><figcaption>bull-board</figcaption><img src="${theirs}"></figure>`);
await both.screenshot({ path: picture, fullPage: true });

await browser.close();
server.close();
server.closeAllConnections();
await queue.close();
await tasks.stop({ timeout: 0 });
redis.stop();
