import { Job, type JobJson } from 'bullmq';
import type { Redis } from 'ioredis';
import type { EngineKeys } from '../keys.js';
import type { CatalogEntry, QueueCatalog } from '../queue-catalog.js';
import type { TaskJob } from '../task-job.js';

/** Parses the hash of a job; none for a job that is gone. */
export function jobOfHash(id: string, hash: Readonly<Record<string, string>>): TaskJob | undefined {
  if (hash.name === undefined) return undefined;
  const number = (text: string | undefined): number | undefined => {
    const n = Number(text);
    return text === undefined || text === '' || !Number.isFinite(n) ? undefined : n;
  };
  const times = { finishedOn: number(hash.finishedOn), processedOn: number(hash.processedOn), priority: number(hash.priority) };
  const texts = { stacktrace: hash.stacktrace, parentKey: hash.parentKey, repeatJobKey: hash.rjk, deduplicationId: hash.deid };
  const json: JobJson = {
    ...{ id, name: hash.name, data: hash.data ?? '[]', opts: Job.optsFromJSON(hash.opts ?? '{}') },
    ...{ progress: parsed(hash.progress) ?? 0, timestamp: number(hash.timestamp) ?? 0, delay: number(hash.delay) ?? 0 },
    ...{ attemptsMade: number(hash.atm) ?? 0, attemptsStarted: number(hash.ats) ?? 0, stalledCounter: number(hash.stc) ?? 0 },
    ...{ failedReason: hash.failedReason ?? '', returnvalue: hash.returnvalue ?? '' },
    ...(Object.fromEntries(Object.entries({ ...times, ...texts }).filter(([, value]) => value !== undefined)) as Partial<JobJson>),
  };
  return { json, fields: hash };
}

function parsed(text: string | undefined): JobJson['progress'] | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as JobJson['progress']);
  } catch {
    return text;
  }
}

/** A queue that has a job of some id. Ids are unique over all queues of an engine, so the first one is it. */
export async function queueOf(redis: Redis, keys: EngineKeys, catalog: QueueCatalog, id: string): Promise<CatalogEntry | undefined> {
  for (const fresh of [false, true]) {
    if (fresh) await catalog.refresh();
    const entries = catalog.all();
    if (entries.length === 0) continue;
    const answers = await redis.pipeline(entries.map(({ queue }) => ['exists', keys.ofQueue(queue, id)])).exec();
    const at = answers?.findIndex(([error, exists]) => error === null && exists === 1) ?? -1;
    if (at >= 0) return entries[at];
  }
  return undefined;
}
