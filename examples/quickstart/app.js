// A shop with background tasks and their dashboard. README.md says how to start it.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import Koa from 'koa';
import { TaskManager, taskAdmin, taskContext, taskLog } from 'koa-taskflow';

const port = Number(process.env.PORT ?? 3000);
const password = process.env.ADMIN_PASSWORD || randomBytes(9).toString('base64url');

const tasks = new TaskManager({ database: process.env.DATABASE ?? 'quickstart.db', logger: false });

/**
 * Stands for real work. It takes this many seconds, and stops at once if the task is cancelled.
 * @param {number} seconds
 */
const work = (seconds) => setTimeout(seconds * 1000, undefined, { signal: taskContext().signal });

const resizeImage = tasks.task(
  'resize_image',
  async (/** @type {string} */ file, /** @type {number} */ width) => {
    taskLog('resizing', { file, width });
    await work(0.2);
    return { file, width };
  },
);

const buildReport = tasks.task('build_report', async (/** @type {string} */ region) => {
  for (let page = 1; page <= 40; page++) {
    await work(0.5);
    taskLog(`page ${page} of 40`, { region });
  }
});

const sendEmail = tasks.task(
  'send_email',
  async (/** @type {string} */ address) => {
    taskLog('connecting to the mail server', { address });
    await work(0.3);
    if (taskContext().attempt < 3) throw new Error('connection reset by the mail server');
    taskLog('sent');
  },
  { retries: 3, delay: 1, backoff: 2, tags: { kind: 'mail' } },
);

const chargeCard = tasks.task(
  'charge_card',
  async (/** @type {string} */ order, /** @type {number} */ cents) => {
    taskLog.warn('the bank is slow today', { order });
    await work(0.4);
    throw new RangeError(`card of order ${order} was declined for ${cents / 100} EUR`);
  },
  { retries: 1, queue: 'payments', priority: 5 },
);

const cleanUp = tasks.task('clean_up', async () => {
  taskLog('looking for carts that were left behind');
  await work(0.1);
});
tasks.schedule('clean_up_carts', cleanUp, { every: 5 });

const app = new Koa();
app.use(
  taskAdmin(tasks, {
    auth: ['admin', password],
    title: 'Quickstart',
    displayFuncArgs: true,
    logger: false,
  }),
);
app.use((ctx) => ctx.redirect('/tasks/dashboard'));

await tasks.start();
await resizeImage.enqueueMany([
  ['cat.jpg', 640],
  ['dog.jpg', 320],
  ['owl.jpg', 1280],
]);
await sendEmail.enqueue('ada@example.com');
await chargeCard.enqueue('A-1042', 4995);
await buildReport.enqueue('europe');
await resizeImage.with({ runIn: 600 }).enqueue('later.jpg', 640);
const dropped = await buildReport.with({ runIn: 3600 }).enqueue('antarctica');
await tasks.control({ action: 'cancel', ids: [dropped] }, { actor: 'quickstart' });

const server = createServer(app.callback());
server.headersTimeout = 15_000;
server.requestTimeout = 30_000;

let isStopping = false;
async function stop() {
  // npm passes on a signal that the terminal has sent to this process too.
  if (isStopping) return;
  isStopping = true;
  server.close();
  await tasks.stop({ timeout: 2 });
  server.closeAllConnections();
}
process.on('SIGTERM', stop).on('SIGINT', stop);

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
  const address = server.address();
  const bound = typeof address === 'object' && address ? address.port : port;
  console.log(
    `\n  Dashboard  http://127.0.0.1:${bound}/tasks/dashboard\n  User name  admin\n  Password   ${process.env.ADMIN_PASSWORD ? '(from ADMIN_PASSWORD)' : password}\n\n  Stop with Ctrl+C\n`,
  );
});
