import type { TaskPage, TaskQuery } from '../../../tasks/engine.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { keyOf, partsOf } from '../jobs/job-ids.js';
import type { WindowModel } from '../read/window-model.js';

/**
 * Returns the first page of a search if its text is the id of a job, with or without the queue.
 * Returns undefined for any other text.
 */
export async function findById(model: WindowModel, queues: readonly string[], query: TaskQuery): Promise<TaskPage | undefined> {
  const { text, after } = query;
  if (text === undefined || after !== undefined) return undefined;
  const found = await model.summaries([text, ...queues.map((queue) => keyOf(queue, text))]);
  const items = found.filter((task) => isWanted(task, query));
  return items.length === 0 ? undefined : { items, next: null, total: items.length, totalRelation: 'eq' };
}

/** Whether a job that was found by its id matches the other conditions of the query. */
function isWanted({ id, status, name, queue, fingerprint, createdAt }: TaskSummary, query: TaskQuery): boolean {
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
