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
export function matches(task: TaskSummary, query: TaskQuery): boolean {
  const { name = task.name, queue = task.queue, fingerprint = task.fingerprint } = query;
  const { status = [task.status], tags = [], from = 0, to = Number.POSITIVE_INFINITY } = query;
  const at = Date.parse(task.createdAt);
  return (
    name === task.name &&
    queue === task.queue &&
    fingerprint === task.fingerprint &&
    status.includes(task.status) &&
    tags.length === 0 &&
    at >= from &&
    at < to &&
    (query.schedule === undefined || isOfSchedule(task.id, query.schedule))
  );
}

/** Whether a job is of a job scheduler: BullMQ makes the ids of its jobs from its key. */
function isOfSchedule(id: string, schedule: string): boolean {
  const { queue, jobId: key } = partsOf(schedule);
  return id.startsWith(keyOf(queue, `repeat:${key}:`));
}
