import type { TaskQuery } from '../../../tasks/engine-queries.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { isOwnId, type JobRef, keyOf, partsOf } from '../jobs/job-ids.js';
import type { ModelDeps } from './window-feed.js';

type Places = Pick<ModelDeps, 'catalog' | 'rules'>;

/** Returns the jobs that a task id may belong to. Only an id of this package names no queue. */
export function placesOf({ catalog, rules }: Places, id: string): JobRef[] {
  if (rules.hasOwnIds && isOwnId(id))
    return catalog.all().map(({ queue }) => ({ queue, jobId: id }));
  const job = partsOf(id);
  return catalog.get(job.queue) ? [job] : [];
}

/**
 * Returns the task ids that a search text may be. On attached queues, the text may be an id of
 * BullMQ, which names no queue. On `bullmqEngine`, the same text may be a word of other tasks.
 */
export function idsOfText({ catalog, rules }: Places, text: string): string[] {
  if (rules.hasOwnIds) return [text];
  return [text, ...catalog.all().map(({ queue }) => keyOf(queue, text))];
}

/** Whether a task that was found by its id matches the other conditions of the query. */
export function matches(
  { id, status, name, queue, fingerprint, createdAt }: TaskSummary,
  query: TaskQuery,
): boolean {
  const at = Date.parse(createdAt);
  return (
    (query.status === undefined || query.status.includes(status)) &&
    (query.name === undefined || query.name === name) &&
    (query.queue === undefined || query.queue === queue) &&
    (query.fingerprint === undefined || query.fingerprint === fingerprint) &&
    (query.schedule === undefined || isOfSchedule(id, query.schedule)) &&
    at >= (query.from ?? 0) &&
    at < (query.to ?? Number.POSITIVE_INFINITY) &&
    (query.tags ?? []).length === 0
  );
}

/** Whether a job is of a job scheduler: BullMQ makes the ids of its jobs from its key. */
function isOfSchedule(id: string, schedule: string): boolean {
  const { queue, jobId: key } = partsOf(schedule);
  return id.startsWith(keyOf(queue, `repeat:${key}:`));
}
