import type { TaskFilter } from '../../../tasks/engine-queries.js';
import { noCounts } from '../../../tasks/no-stats.js';
import type { Pause, QueueState } from '../../../tasks/queue-state.js';
import type { Counts, StatsSnapshot } from '../../../tasks/types.js';
import { successRate } from '../../metrics.js';
import { send } from '../connection/pipelines.js';
import { markers } from '../keys.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import type { CountedQueues } from './marked-jobs.js';
import { byItem, waitingSets } from './source.js';

/** Whether BullMQ's sets can answer a filter: its only conditions are queue and state. */
export function isOfSets({
  name,
  tags = [],
  fingerprint,
  schedule,
  text,
  from,
  to,
}: TaskFilter): boolean {
  return (
    [name, fingerprint, schedule, text, from, to].every((condition) => condition === undefined) &&
    tags.length === 0
  );
}

/** Counts the tasks of some queues by state, from BullMQ's own counts and the sets of markers. */
export async function readCounts(
  source: CountedQueues,
  entries: readonly CatalogEntry[],
): Promise<Counts> {
  const { redis, keys, marked } = source;
  const counts = noCounts();
  const key = ({ queue }: CatalogEntry, type: string): string => keys.ofQueue(queue, type);
  const answers = (await send(
    redis,
    entries.flatMap((entry) => [
      ...waitingSets.map(({ type, isList }) => [isList ? 'llen' : 'zcard', key(entry, type)]),
      ['llen', key(entry, 'active')],
      ['zcard', key(entry, 'completed')],
      ['zcard', key(entry, 'failed')],
      ['exists', ...markers.map((marker) => keys.marked(entry.queue, marker))],
    ]),
  )) as number[];
  const count = async ([{ queue }, of]: [CatalogEntry, number[]]): Promise<void> => {
    const [running = 0, success = 0, all = 0, hasMarkers = 0] = of.splice(waitingSets.length);
    const unmarked = { failed: all, cancelled: 0, interrupted: 0 };
    const failures = hasMarkers > 0 ? await marked.count(queue) : unmarked;
    counts.pending += of.reduce((sum, each) => sum + each, 0);
    counts.running += running;
    counts.success += success;
    counts.failed += failures.failed;
    counts.cancelled += failures.cancelled;
    counts.interrupted += failures.interrupted;
  };
  await Promise.all(byItem(entries, answers).map(count));
  return counts;
}

/** The pause of a queue that another program paused. BullMQ stores no user and no time. */
const unknownPause: Pause = { by: '', at: new Date(0).toISOString(), reason: null };

/** Reads the stats snapshot that the change stream sends. It needs no state in the process. */
export async function readStatsSnapshot(
  source: CountedQueues,
  queues: readonly QueueState[],
): Promise<StatsSnapshot> {
  const { redis, keys, catalog } = source;
  const entries = catalog.all();
  const since = Date.now() - 60_000;
  const [counts, ended] = await Promise.all([
    readCounts(source, entries),
    send(
      redis,
      entries.flatMap(({ queue }) =>
        ['completed', 'failed'].map((type) => ['zcount', keys.ofQueue(queue, type), since, '+inf']),
      ),
    ),
  ]);
  const { running, pending } = counts;
  return {
    counts,
    running,
    pending,
    successRate: successRate(counts),
    perMinute: ended.reduce<number>((sum, n) => sum + Number(n), 0),
    paused: queues
      .filter(({ paused }) => paused)
      .map(({ name, pause }) => ({ queue: name, ...(pause ?? unknownPause) })),
  };
}
