import type { Pause, QueueState, TaskFilter } from '../../../tasks/engine.js';
import type { Counts, Pulse } from '../../../tasks/types.js';
import { noCounts, successRate } from '../../metrics.js';
import { send } from '../connection/pipelines.js';
import { type Marker, markers } from '../keys.js';
import type { CatalogEntry, StoredQueues } from '../queues/queue-catalog.js';
import { waitingSets } from './source.js';

/**
 * Milliseconds for which the marker of a missing job is kept. The clocks of processes differ
 * slightly, and the job may have been added to the failed set between two commands.
 */
const markerGrace = 60_000;

/**
 * Returns the end time before which markers have no job, as a bound of a range in Redis. BullMQ
 * sends no event when it removes old jobs. `oldest`: when the oldest failed job ended, in Unix
 * milliseconds.
 */
export function beforeMarkers(oldest = Number.POSITIVE_INFINITY): string {
  return `(${Math.min(oldest, Date.now() - markerGrace)}`;
}

/** Whether BullMQ's sets can answer a filter: its only conditions are queue and state. */
export function isOfSets({ name, tags = [], fingerprint, schedule, text, from, to }: TaskFilter): boolean {
  return [name, fingerprint, schedule, text, from, to].every((condition) => condition === undefined) && tags.length === 0;
}

/** Counts the tasks of some queues by state, from BullMQ's own counts and the sets of markers. */
export async function readCounts(source: StoredQueues, entries: readonly CatalogEntry[]): Promise<Counts> {
  const counts = noCounts();
  if (entries.length === 0) return counts;
  const key = ({ queue }: CatalogEntry, type: string): string => source.keys.ofQueue(queue, type);
  const answers = await send(
    source.redis,
    entries.flatMap((entry) => [
      ...waitingSets.map(({ type, isList }) => [isList ? 'llen' : 'zcard', key(entry, type)]),
      ['llen', key(entry, 'active')],
      ['zcard', key(entry, 'completed')],
      ['zcard', key(entry, 'failed')],
      ['zrange', key(entry, 'failed'), 0, 0, 'WITHSCORES'],
      ...markers.map((marker) => ['exists', source.keys.marked(entry.queue, marker)]),
    ]),
  );
  const width = waitingSets.length + 4 + markers.length;
  const marked: { entry: CatalogEntry; marker: Marker; oldest: number }[] = [];
  for (const [n, entry] of entries.entries()) {
    const of = answers.slice(n * width, (n + 1) * width);
    counts.pending += of.slice(0, waitingSets.length).reduce<number>((sum, each) => sum + Number(each), 0);
    const [running, success, failed, oldest, ...exist] = of.slice(waitingSets.length);
    counts.running += Number(running);
    counts.success += Number(success);
    counts.failed += Number(failed);
    const score = (oldest as string[])[1];
    for (const [m, marker] of markers.entries())
      if (exist[m] === 1 && score !== undefined) marked.push({ entry, marker, oldest: Number(score) });
  }
  for (const [marker, n] of await countMarked(source, marked)) {
    counts[marker] += n;
    counts.failed -= n;
  }
  return counts;
}

/** Counts the markers of existing jobs, and drops the other markers. */
async function countMarked(
  { redis, keys }: StoredQueues,
  marked: readonly { entry: CatalogEntry; marker: Marker; oldest: number }[],
): Promise<[Marker, number][]> {
  const commands = marked.flatMap(({ entry, marker, oldest }) => {
    const key = keys.marked(entry.queue, marker);
    return [
      ['zremrangebyscore', key, '-inf', beforeMarkers(oldest)],
      ['zcount', key, oldest, '+inf'],
    ];
  });
  const answers = await send(redis, commands);
  return marked.map(({ marker }, n) => [marker, Number(answers[2 * n + 1])]);
}

/** The pause of a queue that another program paused. BullMQ stores no user and no time. */
const unknownPause: Pause = { by: '', at: new Date(0).toISOString(), reason: null };

/** Reads the stats snapshot that the change stream sends. It needs no state in the process. */
export async function readPulse(source: StoredQueues, queues: readonly QueueState[]): Promise<Pulse> {
  const { redis, keys, catalog } = source;
  const entries = catalog.all();
  const since = Date.now() - 60_000;
  const [counts, ended] = await Promise.all([
    readCounts(source, entries),
    send(
      redis,
      entries.flatMap(({ queue }) => ['completed', 'failed'].map((type) => ['zcount', keys.ofQueue(queue, type), since, '+inf'])),
    ),
  ]);
  const { running, pending } = counts;
  return {
    ...{ counts, running, pending },
    successRate: successRate(counts),
    perMinute: ended.reduce<number>((sum, n) => sum + Number(n), 0),
    paused: queues.filter(({ paused }) => paused).map(({ name, pause }) => ({ queue: name, ...(pause ?? unknownPause) })),
  };
}
