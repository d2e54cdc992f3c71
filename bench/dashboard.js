// The dashboard in a browser beside bull-board: what the first view costs and how soon it is there,
// what an idle tab costs, and for ours, over a million tasks, memory and the longest task of the
// main thread under a thousand changes a second.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { KoaAdapter } from '@bull-board/koa';
import { Queue } from 'bullmq';
import Koa from 'koa';
import { TaskManager, taskAdmin } from '../dist/index.js';
import { startChromium } from '../scripts/chromium.js';
import { makeHistory } from './lib/history.js';
import { startRedis } from './lib/redis.js';
import { median } from './lib/rounds.js';

const history = Number(process.env.HISTORY ?? 1_000_000);
const minutes = Number(process.env.MINUTES ?? 10);
const rounds = 5;
const peerJobs = 3000;

const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-dashboard-'));
const database = join(folder, 'tasks.db');
await makeHistory(database, history, 10_000);
const tasks = new TaskManager({ database, logger: false });
await tasks.start({ run: false });
const ours = new Koa();
ours.use(taskAdmin(tasks, { auth: null, logger: false }));

const redis = await startRedis();
const queue = new Queue('mail', { connection: { host: '127.0.0.1', port: redis.port } });
await queue.addBulk(
  Array.from({ length: peerJobs }, (_, n) => ({ name: 'send_email', data: { n } })),
);
const adapter = new KoaAdapter();
createBullBoard({
  queues: [new BullMQAdapter(queue)],
  serverAdapter: adapter.setBasePath('/board'),
});
const theirs = new Koa();
theirs.use(adapter.registerPlugin());

const servers = [ours, theirs].map((app) => createServer(app.callback()));
const [our = '', their = ''] = await Promise.all(
  servers.map(
    (server) =>
      new Promise((resolve) =>
        server.listen(0, '127.0.0.1', () =>
          resolve(
            `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`,
          ),
        ),
      ),
  ),
);

const browser = await startChromium();

/**
 * Opens a page with an empty cache.
 * @param {string} url
 * @param {string} row a selector of what is there when the first row is
 */
async function open(url, row) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  let bytes = 0;
  let requests = 0;
  await session.send('Network.enable');
  session.on('Network.requestWillBeSent', () => (requests += 1));
  session.on(
    'Network.loadingFinished',
    (/** @type {any} */ { encodedDataLength }) => (bytes += encodedDataLength),
  );
  session.on('Network.dataReceived', (/** @type {any} */ { encodedDataLength, requestId }) => {
    if (requestId === stream) bytes += encodedDataLength;
  });
  let stream = '';
  session.on('Network.responseReceived', (/** @type {any} */ { response, requestId }) => {
    if (response.mimeType === 'text/event-stream') stream = requestId;
  });
  const began = performance.now();
  await page.goto(url);
  await page.locator(row).first().waitFor();
  const shown = performance.now() - began;
  await setTimeout(1500);
  return {
    page,
    session,
    context,
    shown,
    requests,
    nodes: await page.locator('*').count(),
    sent: () => bytes,
  };
}

/**
 * How soon it is there for who comes again, with its files in the cache.
 * @param {import('playwright-core').Page} page
 * @param {string} row
 */
async function openAgain(page, row) {
  const began = performance.now();
  await page.reload({ waitUntil: 'commit' });
  await page.locator(row).first().waitFor();
  return performance.now() - began;
}

const rows = { our: 'tr[data-task]', their: 'text=send_email' };
/**
 * @type {Record<'our' | 'their', { shown: number[], again: number[], sent: number[], requests:
 * number[], nodes: number[], idle: number[] }>}
 */
const found = {
  our: { shown: [], again: [], sent: [], requests: [], nodes: [], idle: [] },
  their: { shown: [], again: [], sent: [], requests: [], nodes: [], idle: [] },
};
for (let round = 0; round < rounds; round++) {
  for (const who of round % 2 === 0
    ? /** @type {const} */ (['our', 'their'])
    : /** @type {const} */ (['their', 'our'])) {
    const view = await open(
      who === 'our' ? `${our}/tasks/dashboard?view=tasks` : `${their}/board/queue/mail`,
      rows[who],
    );
    found[who].shown.push(view.shown);
    found[who].sent.push(view.sent() / 1024);
    found[who].requests.push(view.requests);
    found[who].nodes.push(view.nodes);
    if (round === rounds - 1) {
      // Until two minutes after the history was made, the number of tasks a minute still falls.
      await setTimeout(130_000);
      const before = view.sent();
      await setTimeout(30_000);
      found[who].idle.push((view.sent() - before) / 1024);
    }
    found[who].again.push(await openAgain(view.page, rows[who]));
    await view.context.close();
  }
}

/**
 * @param {string} row
 * @param {'shown' | 'again' | 'sent' | 'requests' | 'nodes' | 'idle'} key
 * @param {string} unit
 */
function print(row, key, unit) {
  const [mine, peer] = [found.our[key], found.their[key]];
  const ratio = median(mine.map((value, n) => value / (peer[n] || 1)));
  const show = (/** @type {number[]} */ values) =>
    median(values).toLocaleString('en', { maximumFractionDigits: 1 });
  console.log(
    `| ${row} | ${show(mine)} | ${show(peer)} (bull-board) | ${unit}, less is better | ${ratio.toFixed(2)} × |`,
  );
}
print(
  `dashboard, the first row of ${history.toLocaleString('en')} tasks against ${peerJobs.toLocaleString('en')} jobs`,
  'shown',
  'ms',
);
print('dashboard, the same for who comes again', 'again', 'ms');
print('dashboard, the first view', 'sent', 'KB');
print('dashboard, the first view', 'requests', 'requests');
print('dashboard, 50 rows against 10', 'nodes', 'elements');
print('dashboard, 30 idle seconds', 'idle', 'KB');

const { page, session, context } = await open(`${our}/tasks/dashboard?view=tasks`, rows.our);
const noise = tasks.define('noise');
let on = true;
const changing = (async () => {
  while (on) {
    const next = Date.now() + 100;
    await noise.enqueueMany(Array.from({ length: 100 }, () => /** @type {[]} */ ([])));
    await setTimeout(Math.max(0, next - Date.now()));
  }
})();
await setTimeout(10_000);
const heap = async () => {
  await session.send('HeapProfiler.collectGarbage');
  return (await session.send('Runtime.getHeapUsage')).usedSize;
};
await page.evaluate(() => {
  const longest = { ms: 0 };
  Object.assign(window, { longest });
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longest.ms = Math.max(longest.ms, duration);
  }).observe({ type: 'longtask' });
});
const before = await heap();
await setTimeout(minutes * 60_000);
const after = await heap();
const longest = await page.evaluate(() => /** @type {any} */ (window).longest.ms);
on = false;
await changing;
console.log(
  `| dashboard, memory after ${minutes} min of 1,000 changes a second | ${(after / before).toFixed(2)} × the memory at its beginning | | | |`,
);
console.log(
  `| dashboard, the longest task of its main thread meanwhile | ${longest === 0 ? 'under 50' : longest.toFixed(0)} ms | | | |`,
);

await context.close();
await browser.close();
for (const server of servers) {
  server.close();
  server.closeAllConnections();
}
await tasks.stop();
await queue.close();
redis.stop();
rmSync(folder, { recursive: true, force: true });
