import { Job, type JobJson } from 'bullmq';
import { hasCode } from '../connection/redis-errors.js';
import { isOwnId, partsOf } from '../jobs/job-ids.js';
import type { TaskJob } from '../jobs/task-job.js';
import type { CatalogEntry, StoredQueues } from '../queues/queue-catalog.js';
import type { KnownQueues } from './source.js';

/**
 * Builds a job from the values of some fields of its hash. Returns undefined if it no longer
 * exists.
 */
export function jobOfRow(
  id: string,
  fields: readonly string[],
  values: readonly (string | null)[],
): TaskJob | undefined {
  const hash: Record<string, string> = {};
  for (const [n, field] of fields.entries()) if (values[n] != null) hash[field] = values[n];
  return jobOfHash(id, hash);
}

/** Parses the hash of a job. Returns undefined if the job no longer exists. */
export function jobOfHash(id: string, hash: Readonly<Record<string, string>>): TaskJob | undefined {
  if (hash.name === undefined) return undefined;
  const json: JobJson = {
    id,
    name: hash.name,
    data: hash.data ?? '[]',
    opts: optionsOf(hash.opts),
    progress: (hash.progress === undefined ? 0 : jsonOrText(hash.progress)) as JobJson['progress'],
    timestamp: number(hash.timestamp) ?? 0,
    delay: number(hash.delay) ?? 0,
    priority: number(hash.priority) ?? 0,
    attemptsMade: number(hash.atm) ?? 0,
    attemptsStarted: number(hash.ats) ?? 0,
    stalledCounter: number(hash.stc) ?? 0,
    failedReason: hash.failedReason ?? '',
    returnvalue: hash.returnvalue ?? '',
  };
  const [finishedOn, processedOn] = [number(hash.finishedOn), number(hash.processedOn)];
  if (finishedOn !== undefined) json.finishedOn = finishedOn;
  if (processedOn !== undefined) json.processedOn = processedOn;

  if (hash.stacktrace !== undefined) json.stacktrace = hash.stacktrace;
  if (hash.parentKey !== undefined) json.parentKey = hash.parentKey;
  if (hash.rjk !== undefined) json.repeatJobKey = hash.rjk;
  if (hash.deid !== undefined) json.deduplicationId = hash.deid;
  return { json, fields: hash };
}

/** Other programs may store any text. */
function optionsOf(text: string | undefined): JobJson['opts'] {
  try {
    return Job.optsFromJSON(text ?? '{}');
  } catch {
    return {};
  }
}

function number(text: string | undefined): number | undefined {
  const n = Number(text);
  return text === undefined || text === '' || !Number.isFinite(n) ? undefined : n;
}

/**
 * Parses a part of a job. BullMQ writes JSON. What another program wrote may be any text, which is
 * returned as it is.
 */
export function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** A job that was found by its id, and its queue. */
export interface LocatedJob extends CatalogEntry {
  readonly jobId: string;
}

/**
 * Finds the jobs with some ids, in one round trip, or in two if a job may be in a queue that is new
 * to this process. The id of a task is unique across all queues of an engine. A job of another
 * program may have any id, so its task has the id `queue:jobId`.
 */
export async function findJobs(
  { redis, keys, catalog }: StoredQueues,
  ids: readonly string[],
): Promise<Map<string, LocatedJob>> {
  const found = new Map<string, LocatedJob>();
  const asked = new Set<string>();
  for (const fresh of [false, true]) {
    const missing = ids.filter((id) => !found.has(id));
    if (missing.length === 0) break;
    if (fresh) await catalog.refresh();
    const places = missing.flatMap((id) =>
      placesOf(catalog, id).flatMap((job) => (asked.has(job.queue) ? [] : [{ id, job }])),
    );
    for (const { queue } of catalog.all()) asked.add(queue);
    if (places.length === 0) continue;
    const answers = await redis
      .pipeline(places.map(({ job }) => ['hexists', keys.ofQueue(job.queue, job.jobId), 'name']))
      .exec();
    if (!answers) throw new Error('the pipeline was dropped');
    for (const [n, { id, job }] of places.entries()) {
      const [error, exists] = answers[n] ?? [];
      // An id may be the name of one of BullMQ's own keys, which is not a hash.
      if (error && !hasCode(error, 'WRONGTYPE')) throw error;
      if (exists === 1 && !found.has(id)) found.set(id, job);
    }
  }
  return found;
}

/**
 * Returns the queues in which the job with an id may be. Only an id of this package names no queue.
 */
export function placesOf(catalog: KnownQueues, id: string, hasOwnIds = true): LocatedJob[] {
  if (hasOwnIds && isOwnId(id)) return catalog.all().map((entry) => ({ ...entry, jobId: id }));
  const { queue, jobId } = partsOf(id);
  const entry = catalog.get(queue);
  return entry ? [{ ...entry, jobId }] : [];
}
