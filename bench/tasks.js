// What it takes to enqueue, and to run, beside other queues; each row in interleaved rounds, ours
// first in every other one.
import { setTimeout } from 'node:timers/promises';
import { bullmq, ours, pgBoss, sidequest } from './lib/queues.js';
import { median } from './lib/rounds.js';

/** @typedef {import('./lib/queues.js').Contender} Contender */
/** @typedef {import('./lib/queues.js').Round} Round */

const rounds = Number(process.env.ROUNDS ?? 5);

/**
 * @param {number} callers
 * @param {number} each
 * @param {(n: number) => Promise<unknown>} call
 */
async function together(callers, each, call) {
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let n = 0; n < each; n++) await call(n);
    }),
  );
}

/**
 * @param {number} amount
 * @param {() => Promise<unknown>} work
 */
async function perSecond(amount, work) {
  const started = performance.now();
  await work();
  return amount / ((performance.now() - started) / 1000);
}

/**
 * Resolves when it was called so many times.
 * @param {number} times
 */
function counter(times) {
  let left = times;
  /** @type {() => void} */ let resolve = () => {};
  const done = /** @type {Promise<void>} */ (
    new Promise((settle) => {
      resolve = () => settle(undefined);
    })
  );
  const count = () => {
    left -= 1;
    if (left === 0) resolve();
  };
  return { done, count };
}

/**
 * @param {number} amount
 * @param {Contender} contender
 */
const fewer = (amount, { slowness }) => Math.max(1, Math.round(amount / slowness));

/**
 * Runs so many tasks of a hundred callers to their end.
 * @param {Round} round
 * @param {number} each
 */
async function toDone(round, each) {
  const { count, done } = counter(100 * each);
  await round.run(count);
  return async () => {
    await together(100, each, round.enqueue);
    await done;
  };
}

/**
 * Milliseconds from an enqueue to the start of the handler, while nothing else runs.
 * @param {Round} round
 * @param {number} times
 */
async function pickUps(round, times) {
  /** @type {(at: number) => void} */ let begun = () => {};
  await round.run(() => begun(performance.now()));
  const waited = [];
  for (let n = 0; n < times; n++) {
    await setTimeout(5);
    const started = /** @type {Promise<number>} */ (
      new Promise((resolve) => {
        begun = resolve;
      })
    );
    const sent = performance.now();
    await round.enqueue(n);
    waited.push((await started) - sent);
  }
  return waited.sort((a, b) => a - b);
}

/**
 * @type {Record<string, { unit: string, lessIsBetter?: boolean, inProcess?: boolean, measure(round:
 * Round, contender: Contender): Promise<number> }>}
 */
const rows = {
  'durable enqueue, 1 caller': {
    unit: 'a second',
    measure: (round, contender) =>
      perSecond(fewer(400, contender), () => together(1, fewer(400, contender), round.enqueue)),
  },
  'durable enqueue, 10 callers': {
    unit: 'a second',
    measure: (round, contender) =>
      perSecond(10 * fewer(400, contender), () =>
        together(10, fewer(400, contender), round.enqueue),
      ),
  },
  'durable enqueue, 100 callers': {
    unit: 'a second',
    measure: (round, contender) =>
      perSecond(100 * fewer(200, contender), () =>
        together(100, fewer(200, contender), round.enqueue),
      ),
  },
  'batch of 10,000': {
    unit: 'a second',
    measure: (round, { elsewhere }) =>
      perSecond(elsewhere ? 200 : 10_000, () => round.enqueueMany(elsewhere ? 200 : 10_000)),
  },
  'enqueue to done, 100 callers': {
    unit: 'a second',
    measure: async (round, contender) =>
      perSecond(100 * fewer(200, contender), await toDone(round, fewer(200, contender))),
  },
  'pick-up when idle, median': {
    unit: 'ms',
    lessIsBetter: true,
    inProcess: true,
    measure: async (round, { slowness }) => median(await pickUps(round, slowness > 1 ? 5 : 60)),
  },
  'pick-up when idle, 99th percentile': {
    unit: 'ms',
    lessIsBetter: true,
    inProcess: true,
    async measure(round, { slowness }) {
      const waited = await pickUps(round, slowness > 1 ? 5 : 300);
      return waited[Math.floor(waited.length * 0.99)] ?? 0;
    },
  },
  'CPU of the process from enqueue to done, 100 callers': {
    unit: 'µs a task',
    lessIsBetter: true,
    inProcess: true,
    async measure(round, contender) {
      const each = fewer(200, contender);
      const work = await toDone(round, each);
      const before = process.cpuUsage();
      await work();
      const { user, system } = process.cpuUsage(before);
      return (user + system) / (100 * each);
    },
  },
};

const mine = ours();
const others = [
  await bullmq('everysec'),
  await bullmq('always'),
  await pgBoss(),
  await sidequest(),
].filter((each) => each !== undefined);
const show = (/** @type {number} */ value) =>
  value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 2 : 0 });

for (const [row, { unit, lessIsBetter, inProcess, measure }] of Object.entries(rows)) {
  const peers = others.filter(({ elsewhere }) => !(inProcess && elsewhere));
  /** @type {Map<Contender, number[]>} */ const results = new Map(
    [mine, ...peers].map((each) => [each, []]),
  );
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? [mine, ...peers] : [...peers, mine];
    for (const contender of order) {
      const opened = await contender.open();
      results.get(contender)?.push(await measure(opened, contender));
      await opened.close();
    }
  }
  for (const other of peers) {
    const [own, theirs] = [results.get(mine) ?? [], results.get(other) ?? []];
    const ratio = median(own.map((value, round) => value / (theirs[round] ?? 1)));
    console.log(
      `| ${row} | ${show(median(own))} | ${show(median(theirs))} (${other.name}) | ${unit}${lessIsBetter ? ', less is better' : ''} | ${ratio.toFixed(2)} × |`,
    );
  }
}
for (const each of [mine, ...others]) await each.stop();
