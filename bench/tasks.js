// What it takes to enqueue, and to run, beside other queues; each row in interleaved rounds, ours first in every other one.
import { setTimeout } from 'node:timers/promises';
import { bullmq, ours, pgBoss } from './lib/queues.js';
import { median } from './lib/rounds.js';

/** @typedef {import('./lib/queues.js').Contender} Contender */
/** @typedef {import('./lib/queues.js').Round} Round */

const rounds = Number(process.env.ROUNDS ?? 5);

/** @param {number} callers @param {number} each @param {(n: number) => Promise<unknown>} call */
async function together(callers, each, call) {
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let n = 0; n < each; n++) await call(n);
    }),
  );
}

/** @param {number} amount @param {() => Promise<unknown>} work */
async function perSecond(amount, work) {
  const started = performance.now();
  await work();
  return amount / ((performance.now() - started) / 1000);
}

/** Resolves when it was called so many times. @param {number} times */
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

/** @type {Record<string, { unit: string, lessIsBetter?: boolean, measure(round: Round, contender: Contender): Promise<number> }>} */
const rows = {
  'durable enqueue, 1 caller': {
    unit: 'a second',
    measure: (round) => perSecond(400, () => together(1, 400, round.enqueue)),
  },
  'durable enqueue, 10 callers': {
    unit: 'a second',
    measure: (round) => perSecond(4000, () => together(10, 400, round.enqueue)),
  },
  'durable enqueue, 100 callers': {
    unit: 'a second',
    measure: (round, { name }) => {
      const each = name === 'pg-boss' ? 20 : 100;
      return perSecond(100 * each, () => together(100, each, round.enqueue));
    },
  },
  'batch of 10,000': {
    unit: 'a second',
    measure: (round) => perSecond(10_000, () => round.enqueueMany(10_000)),
  },
  'enqueue to done, 100 callers': {
    unit: 'a second',
    async measure(round, { name }) {
      const each = name === 'pg-boss' ? 10 : 50;
      const { count, done } = counter(100 * each);
      await round.run(count);
      return perSecond(100 * each, async () => {
        await together(100, each, round.enqueue);
        await done;
      });
    },
  },
  'pick-up when idle, median': {
    unit: 'ms',
    lessIsBetter: true,
    async measure(round, { name }) {
      /** @type {(at: number) => void} */ let begun = () => {};
      await round.run(() => begun(performance.now()));
      const times = [];
      for (let n = 0; n < (name === 'pg-boss' ? 5 : 60); n++) {
        await setTimeout(5);
        const started = /** @type {Promise<number>} */ (
          new Promise((resolve) => {
            begun = resolve;
          })
        );
        const sent = performance.now();
        await round.enqueue(n);
        times.push((await started) - sent);
      }
      return median(times);
    },
  },
  'CPU of the process from enqueue to done, 100 callers': {
    unit: 'µs a task',
    lessIsBetter: true,
    async measure(round, { name }) {
      const each = name === 'pg-boss' ? 10 : 50;
      const { count, done } = counter(100 * each);
      await round.run(count);
      const before = process.cpuUsage();
      await together(100, each, round.enqueue);
      await done;
      const { user, system } = process.cpuUsage(before);
      return (user + system) / (100 * each);
    },
  },
};

const mine = ours();
const others = [await bullmq('everysec', 6397), await bullmq('always', 6396), await pgBoss()].filter((each) => each !== undefined);
const show = (/** @type {number} */ value) => value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 2 : 0 });

for (const [row, { unit, lessIsBetter, measure }] of Object.entries(rows)) {
  /** @type {Map<Contender, number[]>} */ const results = new Map([mine, ...others].map((each) => [each, []]));
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? [mine, ...others] : [...others, mine];
    for (const contender of order) {
      const opened = await contender.open();
      results.get(contender)?.push(await measure(opened, contender));
      await opened.close();
    }
  }
  for (const other of others) {
    const [own, theirs] = [results.get(mine) ?? [], results.get(other) ?? []];
    const ratio = median(own.map((value, round) => value / (theirs[round] ?? 1)));
    console.log(
      `| ${row} | ${show(median(own))} | ${show(median(theirs))} (${other.name}) | ${unit}${lessIsBetter ? ', less is better' : ''} | ${ratio.toFixed(2)} × |`,
    );
  }
}
for (const each of [mine, ...others]) await each.stop();
