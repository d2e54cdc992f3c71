import { jobFields } from '../task-job.js';
import { type CountSource, send } from './counts.js';

/** Priorities of one queue that are looked at. */
const mostPriorities = 10;
/** BullMQ's prioritized set is sorted by priority and a number of 32 bits. */
const priorityUnit = 2 ** 32;

/** A job that is the first to run of its queue, or of its queue and priority. */
interface First {
  label: string;
  queue: string;
  id: string;
}

/** Since when the first task that could run now has been waiting, of each queue that has one. Only the first job of each queue and priority is read. */
export async function readWaits(source: CountSource): Promise<{ queue: string; since: string }[]> {
  const { redis, keys, catalog } = source;
  await catalog.refresh();
  const entries = catalog.all();
  const heads = await send(
    redis,
    entries.map(({ queue }) => ['lindex', keys.ofQueue(queue, 'wait'), -1]),
  );
  const first = entries.flatMap(({ queue, label }, n): First[] => (typeof heads[n] === 'string' ? [{ queue, label, id: heads[n] }] : []));
  let left = entries.map((entry) => ({ entry, from: '-inf' }));
  for (let n = 0; n < mostPriorities && left.length > 0; n++) {
    const found = await send(
      redis,
      left.map(({ entry, from }) => ['zrangebyscore', keys.ofQueue(entry.queue, 'prioritized'), from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1]),
    );
    left = left.flatMap(({ entry }, m) => {
      const [id, score] = found[m] as string[];
      if (id === undefined) return [];
      first.push({ queue: entry.queue, label: entry.label, id });
      return [{ entry, from: String((Math.floor(Number(score) / priorityUnit) + 1) * priorityUnit) }];
    });
  }
  const times = await send(
    redis,
    first.map(({ queue, id }) => ['hmget', keys.ofQueue(queue, id), 'timestamp', 'opts', 'processedOn', jobFields.runAt]),
  );
  const since = new Map<string, number>();
  for (const [n, { label }] of first.entries()) {
    const at = readyTime(times[n] as (string | null)[]);
    if (at !== undefined) since.set(label, Math.min(at, since.get(label) ?? at));
  }
  return [...since].sort(([a], [b]) => (a < b ? -1 : 1)).map(([queue, at]) => ({ queue, since: new Date(at).toISOString() }));
}

/** Since when a job could run: its delay was over, its last attempt had begun, after which it waits again, or a retry was due. */
function readyTime([timestamp, opts, processedOn, runAt]: readonly (string | null)[]): number | undefined {
  if (typeof timestamp !== 'string') return undefined;
  return Math.max(Number(timestamp) + delayOf(opts ?? '{}'), Number(processedOn ?? 0), Number(runAt ?? 0));
}

function delayOf(opts: string): number {
  try {
    return Number((JSON.parse(opts) as { delay?: unknown }).delay ?? 0) || 0;
  } catch {
    return 0;
  }
}
