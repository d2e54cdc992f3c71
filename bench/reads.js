// What it costs to read from a long history, beside a short one: median milliseconds of each read,
// and the ratio of the two.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TaskManager } from '../dist/index.js';
import { makeHistory } from './lib/history.js';

const long = Number(process.env.HISTORY ?? 1_000_000);
const short = 1000;
const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-reads-'));

/** @param {() => Promise<unknown>} read */
async function median(read) {
  const times = [];
  for (let n = 0; n < 60; n++) {
    const started = performance.now();
    await read();
    times.push(performance.now() - started);
  }
  return times.sort((a, b) => a - b)[30] ?? 0;
}

/** @param {number} ended */
async function measure(ended) {
  const database = join(folder, `${ended}.db`);
  const began = performance.now();
  await makeHistory(database, ended, 10_000);
  const filled = (performance.now() - began) / 1000;
  const rss = process.memoryUsage().rss;
  const opened = performance.now();
  const tasks = new TaskManager({ database, logger: false });
  await tasks.start({ run: false });
  const start = performance.now() - opened;
  const { items } = await tasks.find({ limit: 50 });
  const some = items[0]?.id ?? '';
  let deep = await tasks.find({ limit: 500 });
  for (let page = 0; page < Math.min(40, ended / 1000); page++)
    deep = await tasks.find({ limit: 500, cursor: deep.nextCursor ?? undefined });
  const cursor = deep.nextCursor ?? undefined;
  const failed = (await tasks.find({ limit: 1, status: ['failed'] })).items[0];
  /** @type {Record<string, () => Promise<unknown>>} */
  const reads = {
    'first page': () => tasks.find({ limit: 50 }),
    'page of a state': () => tasks.find({ limit: 50, status: ['failed'] }),
    'page of a name and a state': () =>
      tasks.find({ limit: 50, name: 'charge_card', status: ['success'] }),
    'page of a queue': () => tasks.find({ limit: 50, queue: 'bulk' }),
    'page of a tag': () => tasks.find({ limit: 50, tag: ['tenant:0'] }),
    'page of a kind of failure': () =>
      tasks.find({ limit: 50, fingerprint: failed?.fingerprint ?? '' }),
    'page by duration': () => tasks.find({ limit: 50, sort: '-duration' }),
    'deep page': () => tasks.find({ limit: 50, cursor }),
    'search for a word': () => tasks.find({ limit: 50, q: 'answer' }),
    'search for a word that is nowhere': () => tasks.find({ limit: 50, q: 'mastodon' }),
    detail: () => tasks.get(some),
    counts: () => tasks.aggregate('statsSnapshot'),
    'metrics of an hour': () => tasks.aggregate('metrics', { from: '-1h' }),
    'metrics of a day': () => tasks.aggregate('metrics', { from: '-24h' }),
    'metrics of all time': () => tasks.aggregate('metrics', {}),
  };
  /** @type {Record<string, number>} */
  const times = {};
  for (const [name, read] of Object.entries(reads)) times[name] = await median(read);
  await tasks.stop();
  return {
    times,
    start,
    filled,
    bytes: statSync(database).size / (ended + 10_000),
    grown: process.memoryUsage().rss - rss,
  };
}

const few = await measure(short);
const many = await measure(long);
console.log(
  `| read at ${long.toLocaleString('en')} ended and 10,000 waiting | ms | ÷ at ${short.toLocaleString('en')} |\n| --- | --- | --- |`,
);
for (const [name, time] of Object.entries(many.times))
  console.log(
    `| ${name} | ${time.toFixed(2)} | ${(time / (few.times[name] ?? time)).toFixed(2)} |`,
  );
console.log(
  `| start of a process | ${many.start.toFixed(0)} | ${(many.start / few.start).toFixed(2)} |`,
);
console.log(
  `\nFile: ${many.bytes.toFixed(0)} bytes a task. Filled in ${many.filled.toFixed(0)} s. Memory grew by ${(many.grown / 2 ** 20).toFixed(0)} MiB while reading.`,
);
rmSync(folder, { recursive: true, force: true });
