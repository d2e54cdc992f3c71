// Tasks on Redis beside BullMQ alone, with the same options: `node redis.js`, or
// `node redis.js run enqueue` for some sections. Each side has a Redis and processes of its own,
// and they are measured in turn. The standard output has the tables; the ratios of each round are
// on the standard error output. Sizes are environment variables: ROUNDS (5), AMOUNT (10,000 tasks
// of a round), STARTED (300,000 ended tasks of the section `start`) and HISTORY (1,000,000 of
// `first-page`).
import { stayBeside } from './redis/beside.js';
import { killWorkers } from './redis/crash.js';
import { enqueueTasks } from './redis/enqueue.js';
import { showFirstPage } from './redis/first-page.js';
import { pickUpTasks } from './redis/pick-up.js';
import { runTasks } from './redis/run.js';
import { startWorkers } from './redis/start.js';

const sizes = {
  rounds: Number(process.env.ROUNDS ?? 5),
  amount: Number(process.env.AMOUNT ?? 10_000),
  started: Number(process.env.STARTED ?? 300_000),
  history: Number(process.env.HISTORY ?? 1_000_000),
};

/** @type {Record<string, (given: typeof sizes) => Promise<void>>} */
const sections = {
  run: runTasks,
  enqueue: enqueueTasks,
  'pick-up': pickUpTasks,
  crash: killWorkers,
  start: startWorkers,
  beside: stayBeside,
  'first-page': showFirstPage,
};

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !sections[name]);
if (unknown.length > 0)
  throw new Error(`unknown: ${unknown.join(', ')}. Sections: ${Object.keys(sections).join(', ')}`);
console.log(
  `Node ${process.versions.node}; each figure is the median of ${sizes.rounds} rounds, and so is each ratio.`,
);
for (const [name, section] of Object.entries(sections))
  if (chosen.length === 0 || chosen.includes(name)) await section(sizes);
