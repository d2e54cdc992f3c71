import { isoTime } from '../jobs/job-view.js';
import { count, jobFields, type TaskJob } from '../jobs/task-job.js';
import { scored } from './source.js';
import type { LocatedJob } from './stored-jobs.js';
import type { ModelDeps } from './window-feed.js';

/** Maximum number of priorities that are read per queue. */
const maxPriorities = 10;
/** A score of the prioritized set is the priority multiplied by this number, plus a counter. */
const priorityUnit = 2 ** 32;

/**
 * Returns since when the first task that could run now has been waiting, for each queue that has
 * such a task. Only the first job of each queue and priority is read.
 */
export async function readWaits({
  source,
  catalog,
}: Pick<ModelDeps, 'source' | 'catalog'>): Promise<{ queue: string; since: string }[]> {
  await catalog.refresh();
  const entries = catalog.all();
  const oldestIds = await source.send(entries.map(({ queue }) => [queue, 'lindex', 'wait', -1]));
  // The next job to run in each queue, then in each queue and priority.
  const first = entries.flatMap((entry, n): LocatedJob[] => {
    const jobId = oldestIds[n];
    return typeof jobId === 'string' ? [{ ...entry, jobId }] : [];
  });
  let left = entries.map((entry) => ({ entry, from: 0 }));
  for (let n = 0; n < maxPriorities && left.length > 0; n++) {
    const found = await source.send(
      left.map(({ entry: { queue }, from }) => [
        ...([queue, 'zrangebyscore', 'prioritized', from, '+inf'] as const),
        ...['WITHSCORES', 'LIMIT', 0, 1],
      ]),
    );
    left = left.flatMap(({ entry }, m) => {
      const [next] = scored(found[m]);
      if (!next) return [];
      const [jobId, score] = next;
      first.push({ ...entry, jobId });
      return [{ entry, from: (Math.floor(score / priorityUnit) + 1) * priorityUnit }];
    });
  }
  const jobs = await source.peek(
    first.map(({ queue, jobId }) => ({ queue, jobId, state: 'waiting' })),
  );
  const since = new Map<string, number>();
  for (const [n, { label }] of first.entries()) {
    const job = jobs[n]?.job;
    if (job)
      since.set(label, Math.min(readyTime(job), since.get(label) ?? Number.POSITIVE_INFINITY));
  }
  return [...since]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([queue, at]) => ({ queue, since: isoTime(at) }));
}

/**
 * Returns since when a job could run: the latest of the end of its delay, the start of its last
 * attempt, and the time when a retry was due.
 */
function readyTime({ json, fields }: TaskJob): number {
  const delay = Number(json.opts?.delay) || 0;
  return Math.max(json.timestamp + delay, json.processedOn ?? 0, count(fields[jobFields.runAt]));
}
