import type { Background } from '../../../background.js';
import { noCounts } from '../../../tasks/no-stats.js';
import type { Counts } from '../../../tasks/types.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import type { QueueReads } from '../queues/queue-reads.js';
import { type EndedGroup, endedGroups } from '../read/groups.js';
import { byItem, type QueueCommand, waitingSets } from '../read/source.js';
import type { ModelDeps } from '../read/window-feed.js';
import { WindowModel } from '../read/window-model.js';
import { AttachedJobs } from './jobs.js';
import { AttachedSource, attachedQueues, type SourceListeners } from './source.js';

/** Milliseconds that answers wait for the window to be filled. */
const fillTimes = { first: 4000, list: 3000 };
/** The lowest limit for the number of waiting jobs in memory. */
const leastPending = 100_000;

const statusOfGroup = { completed: 'success', failed: 'failed' } as const;
/**
 * Maximum number of ended tasks, per queue and group, of which BullMQ is asked for each count. The
 * limit keeps the cost of a count constant. There are more only if the clock of a worker is late by
 * seconds or more. Then those that BullMQ has removed are missing from the count.
 */
const maxChecked = 200;
/** Sorts after any job id. */
const lastText = '\u{10ffff}';

interface AttachedWindowDeps {
  queues: ReadonlyMap<string, QueueReads>;
  /** How many of the newest ended jobs are read, per queue and outcome. */
  history: number;
  /** How many ended jobs are kept. */
  keep: number;
  on: SourceListeners;
  work: { looking: Background; filling: Background };
}

/** Opens the window of a process that shows attached queues. */
export function openAttachedWindow({
  queues,
  history,
  keep,
  on,
  work,
}: AttachedWindowDeps): Promise<WindowModel> {
  return WindowModel.open({
    ...{ source: new AttachedSource(queues, on), catalog: attachedQueues(queues) },
    ...{ work, fillTimes, rules: new AttachedJobs() },
    limits: { ended: keep, pending: Math.max(keep, leastPending), history },
    countTasks,
    // No listener is needed: the ids of the last events that were read show whether Redis was
    // replaced or has lost its data.
    onReconnect: () => () => undefined,
  });
}

/**
 * Counts the tasks by state: the jobs that BullMQ has, and ended tasks that only the window still
 * has.
 */
async function countTasks(entries: readonly CatalogEntry[], deps: ModelDeps): Promise<Counts> {
  const { source, window, feed } = deps;
  const answers = await source.send(
    entries.flatMap(({ queue }): QueueCommand[] => [
      ...waitingSets.map(
        ({ type, isList }): QueueCommand => [queue, isList ? 'llen' : 'zcard', type],
      ),
      [queue, 'llen', 'active'],
      ...endedGroups.map((group): QueueCommand => {
        const newest = feed.wholeAfter(queue, group);
        const end = newest === Number.POSITIVE_INFINITY ? '+inf' : newest;
        return [queue, 'zcount', group, '-inf', end];
      }),
    ]),
  );
  const counts = noCounts();
  for (const [{ queue }, of] of byItem(entries, answers.map(Number))) {
    const [running = 0, completed = 0, failed = 0] = of.splice(waitingSets.length);
    counts.pending += of.reduce((sum, each) => sum + each, 0);
    counts.running += running;
    const kept = (group: EndedGroup): number =>
      window.size(group, queue) -
      window.ends.countUntil(queue, group, feed.wholeAfter(queue, group));
    counts.success += completed + kept('completed');
    counts.failed += failed + kept('failed');
  }
  const removed = await countRemoved(deps, entries);
  counts.success += removed.completed;
  counts.failed += removed.failed;
  return counts;
}

/**
 * Counts the tasks of the window that BullMQ has removed, in the part of the past for which the
 * window is incomplete. If the clocks agree, these can only be tasks that ended in the same
 * millisecond as the last task that was left out.
 */
async function countRemoved(
  { source, window, feed }: ModelDeps,
  entries: readonly CatalogEntry[],
): Promise<Record<EndedGroup, number>> {
  const found = entries.flatMap(({ queue }) =>
    endedGroups.flatMap((group) => {
      const start = { score: feed.wholeAfter(queue, group), jobId: lastText };
      const query = {
        queue,
        status: statusOfGroup[group],
        isDescending: true,
        start,
        limit: maxChecked,
      };
      return window.ends.page(query).map(({ jobId }) => ({ queue, group, jobId }));
    }),
  );
  const removed = { completed: 0, failed: 0 };
  if (found.length === 0) return removed;
  const scores = await source.send(
    found.map(({ queue, group, jobId }) => [queue, 'zscore', group, jobId]),
  );
  for (const [n, { group }] of found.entries())
    if (typeof scores[n] !== 'string') removed[group] += 1;
  return removed;
}
