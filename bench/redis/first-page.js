import { always, printTable } from '../lib/ratio-table.js';
import { inTurn } from '../lib/rounds.js';
import { makeEndedJobs } from './ended-jobs.js';
import { startSide } from './sides.js';

/**
 * How soon a fresh process shows the first page beside many ended tasks.
 * @param {{ rounds: number, history: number }} sizes
 */
export async function showFirstPage({ rounds, history }) {
  const mine = await startSide('ours');
  await makeEndedJobs(mine, history);
  // The same Redis, read by BullMQ's own client.
  const peer = await startSide('plain', mine);
  const { page } = await inTurn({
    ...{ label: 'first page', rounds, mine, peer },
    async measure(side) {
      const web = await side.child('web');
      const url = await web.ask('url');
      const began = performance.now();
      const response = await fetch(`${url}/tasks?limit=50`);
      const { total, items } = await response.json();
      const milliseconds = performance.now() - began;
      if (items.length < 50 || total !== history)
        throw new Error(
          `${side.who} shows ${items.length} of ${total} tasks, not 50 of ${history}`,
        );
      web.kill();
      return { page: milliseconds };
    },
  });
  await Promise.all([peer.end(), mine.end()]);
  printTable({ mine: 'ours', peer: 'plain BullMQ' }, [
    {
      name: `the first page of a fresh process, ${history.toLocaleString('en')} ended tasks`,
      unit: 'ms',
      ...page,
      goal: always(1000, 'ms'),
    },
  ]);
}
