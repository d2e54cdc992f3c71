// Live streams: ten events a second of 3.2 KB each to 100, 500 and 1,000 clients; clients that
// never read; and a hundred changes a second of tasks, in a file with few and with a million of
// them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { makeHistory } from './lib/history.js';
import { median } from './lib/rounds.js';
import { streamLoad } from './lib/stream-load.js';

const rounds = 5;
const show = (/** @type {number} */ value) =>
  value.toLocaleString('en', { maximumFractionDigits: 1 });

/**
 * @param {string} row
 * @param {number[]} ours
 * @param {number[]} theirs
 * @param {string} peer
 * @param {string} unit
 */
function print(row, ours, theirs, peer, unit) {
  const ratio = median(ours.map((value, round) => value / (theirs[round] ?? 1)));
  console.log(
    `| ${row} | ${show(median(ours))} | ${show(median(theirs))} (${peer}) | ${unit}, less is better | ${ratio.toFixed(2)} × |`,
  );
}

/**
 * @param {string[]} args
 * @param {number} clients
 * @param {RegExp} [at]
 */
async function once(args, clients, at) {
  const load = await streamLoad(args, { clients, ...(at && { at }) });
  const measured = await load.measure(5);
  await load.end();
  return measured;
}

for (const clients of [100, 500, 1000]) {
  const ours = [];
  const theirs = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) ours.push(await once(['taskflow'], clients));
    theirs.push(await once(['better-sse'], clients));
    if (round % 2 === 1) ours.push(await once(['taskflow'], clients));
  }
  const row = `a change on ${clients.toLocaleString('en')} streams`;
  print(
    row,
    ours.map(({ cpu }) => cpu),
    theirs.map(({ cpu }) => cpu),
    'better-sse',
    'CPU ms per 1,000 events',
  );
  print(
    `${row}, on its way`,
    ours.map(({ p99 }) => p99),
    theirs.map(({ p99 }) => p99),
    'better-sse',
    'ms, 99th percentile',
  );
}

/** @type {Record<string, string>} */
const grown = {};
for (const kind of ['taskflow', 'better-sse']) {
  const slow = await streamLoad([kind, '', '320'], { clients: 10, reading: false });
  const start = await slow.look();
  await setTimeout(12_000);
  const { rss } = await slow.look();
  await setTimeout(25_000);
  const { open } = await slow.look();
  grown[kind] = `+ ${show(Math.max(0, rss - start.rss))} MiB, ${10 - open} cut off after 38 s`;
  await slow.end();
}
console.log(
  `| ten clients that never read, ten events of 320 KB a second, after 13 s | ${grown.taskflow} | ${grown['better-sse']} (better-sse) | memory, less is better | |`,
);

const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-stream-'));
const history = Number(process.env.HISTORY ?? 1_000_000);
const [few, many] = [join(folder, 'few.db'), join(folder, 'many.db')];
await makeHistory(few, 10_000, 0);
await makeHistory(many, history, 0);
const createdAt = /"createdAt":"([^"]+)"/g;
const short = [];
const long = [];
for (let round = 0; round < rounds; round++) {
  if (round % 2 === 0) long.push(await once(['tasks', many], 100, createdAt));
  short.push(await once(['tasks', few], 100, createdAt));
  if (round % 2 === 1) long.push(await once(['tasks', many], 100, createdAt));
}
print(
  `100 changes a second on 100 streams, ${history.toLocaleString('en')} tasks stored`,
  long.map(({ cpu }) => cpu),
  short.map(({ cpu }) => cpu),
  '10,000 stored',
  'CPU ms per 1,000 events',
);
const crowd = await streamLoad(['tasks', few], { clients: 1000, at: createdAt });
const { used, p99, delivered } = await crowd.measure(10);
const loaded = (await crowd.look()).rss;
await crowd.end();
console.log(
  `\n1,000 streams and 100 changes a second: ${show(used)} % of one processor, ${show(delivered / 10)} events a second, a change is there within ${show(p99)} ms (99th percentile, of which up to 100 are waited to gather), ${show(loaded)} MiB.`,
);
rmSync(folder, { recursive: true, force: true });
