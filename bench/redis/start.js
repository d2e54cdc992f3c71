import { setTimeout } from 'node:timers/promises';
import { atMost, printTable } from '../lib/ratio-table.js';
import { inTurn } from '../lib/rounds.js';
import { makeEndedJobs } from './ended-jobs.js';
import { startSide } from './sides.js';

/** Milliseconds for which a started process may go on reading. */
const settling = 3000;

/**
 * What a worker costs that starts beside many ended tasks, and on an empty Redis.
 * @param {{ rounds: number, started: number }} sizes
 */
export async function startWorkers({ rounds, started }) {
  const [full, empty] = [await startSide('ours'), await startSide('ours')];
  await makeEndedJobs(full, started);
  const stats = await inTurn({
    ...{ label: 'start', rounds, mine: full, peer: empty },
    async measure(side) {
      const worker = await side.child('worker');
      await setTimeout(settling);
      const rss = await worker.ask('rss');
      await worker.end();
      return { start: worker.startTime, rss };
    },
  });
  await Promise.all([full.end(), empty.end()]);
  const { start, rss } = stats;
  const more = Math.max(
    ...(rss?.mine ?? []).map((value, round) => value - (rss?.peer[round] ?? 0)),
  );
  printTable(
    {
      mine: `ours, beside ${started.toLocaleString('en')} ended tasks`,
      peer: 'ours, empty Redis',
      ratio: 'ratio',
    },
    [
      { name: 'start of a worker process', unit: 'ms', ...start, goal: atMost(1.2) },
      {
        name: 'memory of a worker process',
        unit: 'MiB',
        ...rss,
        goal: { text: '+ 10 MiB at most', isMet: () => more <= 10 },
      },
    ],
  );
}
