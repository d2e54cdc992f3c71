import type { TaskQuery } from '../../../tasks/engine-queries.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { keyOf, partsOf } from '../jobs/job-ids.js';
import type { ModelDeps } from './window-feed.js';

/**
 * Returns the task ids that a search text may be. On attached queues, the text may be an id of
 * BullMQ, which names no queue. On `bullmqEngine`, the same text may be a word of other tasks.
 */
export function idsOfText({ catalog, rules }: ModelDeps, text: string): string[] {
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
