// The dashboard of queues that BullMQ has already, beside bull-board on the same Redis: what a page
// of a hundred thousand jobs takes, how soon all of them are there, and what showing costs the
// process while jobs run.
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { KoaAdapter } from '@bull-board/koa';
import { Queue, Worker } from 'bullmq';
import Koa from 'koa';
import { attachQueues } from '../dist/engines/bullmq/index.js';
import { taskAdmin } from '../dist/index.js';
import { startRedis } from './lib/redis.js';
import { median } from './lib/rounds.js';

const jobs = Number(process.env.JOBS ?? 100_000);
const rounds = 20;

const redis = await startRedis();
const connection = { host: '127.0.0.1', port: redis.port };
const queue = new Queue('mail', { connection });
const names = ['send_email', 'resize_image', 'charge_card'];
const worker = new Worker(
  'mail',
  async ({ data }) => {
    if (data.n % 100 === 0)
      throw new Error(data.n === 300 ? 'quicksilver in the pipe' : `no answer from host ${data.n}`);
  },
  { connection: { ...connection, maxRetriesPerRequest: null }, concurrency: 50 },
);
for (let from = 0; from < jobs; from += 1000)
  await queue.addBulk(
    Array.from({ length: 1000 }, (_, n) => ({
      name: names[(from + n) % 3] ?? '',
      data: { n: from + n },
    })),
  );
while ((await queue.getJobCountByTypes('wait', 'active')) > 0) await setTimeout(200);

/** @param {Koa} app */
const listen = (app) =>
  new Promise((resolve) => {
    const server = createServer(app.callback()).listen(0, '127.0.0.1', () => {
      const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
      resolve({ server, url: `http://127.0.0.1:${port}` });
    });
  });

const memory = process.memoryUsage().rss;
const began = performance.now();
const tasks = attachQueues([queue], { history: 1_000_000, keep: 1_000_000, logger: false });
/** @type {number} */
let total = 0;
while (total < jobs) {
  // Only jobs that were read are in the metrics of a time range.
  total = await tasks
    .aggregate('metrics', { from: '-1d', series: false })
    .then(({ counts }) => counts.success + counts.failed);
  await setTimeout(100);
}
const read = performance.now() - began;
const grown = process.memoryUsage().rss - memory;

const ours = new Koa();
ours.use(taskAdmin(tasks, { auth: null, logger: false }));
const adapter = new KoaAdapter();
createBullBoard({
  queues: [new BullMQAdapter(queue)],
  serverAdapter: adapter.setBasePath('/board'),
});
const theirs = new Koa();
theirs.use(adapter.registerPlugin());
const [our, their] = await Promise.all([listen(ours), listen(theirs)]);

/** @param {string} url */
async function timed(url) {
  const from = performance.now();
  const answer = await fetch(url);
  const { length } = await answer.text();
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return { ms: performance.now() - from, length };
}

/**
 * @param {string} row
 * @param {string} mine
 * @param {string | undefined} peer
 */
async function compare(row, mine, peer) {
  /** @type {{ ms: number, length: number }[][]} */
  const found = [[], []];
  for (let round = 0; round < rounds; round++) {
    found[0]?.push(await timed(our.url + mine));
    if (peer) found[1]?.push(await timed(their.url + peer));
  }
  const [ms, peerMs] = found.map((list) => median(list.map((one) => one.ms)));
  const peerCell = peer ? `${peerMs?.toFixed(1)} (bull-board)` : 'it cannot';
  console.log(
    `| attached, ${row} | ${ms?.toFixed(1)} | ${peerCell} | ms, less is better | ${peer ? `${((ms ?? 0) / (peerMs || 1)).toFixed(2)} ×` : ''} |`,
  );
}
const page = '/board/api/queues?activeQueue=mail&jobsPerPage=50&page=';
console.log(
  `| attached, ${jobs.toLocaleString('en')} jobs read | ${(jobs / (read / 1000)).toFixed(0)} a second, ${(grown / jobs).toFixed(0)} bytes each | | | |`,
);
await compare('the first page of 50', '/tasks?limit=50', `${page}1&status=latest`);
await compare(
  'failed jobs, the first page of 50',
  '/tasks?limit=50&status=failed',
  `${page}1&status=failed`,
);
await compare('a word of one error', '/tasks?limit=50&q=quicksilver', undefined);
await compare('failures by cause', '/tasks/failures', undefined);

/**
 * Milliseconds of this process's processor for each thousand jobs that run in another, over some
 * seconds.
 * @param {number} seconds
 */
async function cpuWhileJobsRun(seconds) {
  const before = process.cpuUsage();
  const counted = await queue.getCompletedCount();
  await setTimeout(seconds * 1000);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / (((await queue.getCompletedCount()) - counted) / 1000);
}
await worker.close();
const { fork } = await import('node:child_process');
const other = fork(new URL('./lib/noise-worker.js', import.meta.url), [String(redis.port)]);
await setTimeout(3000);
const following = await cpuWhileJobsRun(10);
await tasks.close();
const alone = await cpuWhileJobsRun(10);
console.log(
  `| attached, following 1,000 jobs a second | ${(following - alone).toFixed(0)} | | ms of processor for 1,000 jobs | |`,
);
other.kill();
for (const { server } of [our, their]) {
  server.close();
  server.closeAllConnections();
}
await queue.close();
redis.stop();
