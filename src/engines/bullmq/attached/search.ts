import type { TaskPage, TaskQuery } from '../../../tasks/engine.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { keyOf } from '../jobs/job-ids.js';
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
function isWanted({ status, name, queue, createdAt }: TaskSummary, query: TaskQuery): boolean {
  const at = Date.parse(createdAt);
  return (
    (query.status === undefined || query.status.includes(status)) &&
    (query.name === undefined || query.name === name) &&
    (query.queue === undefined || query.queue === queue) &&
    at >= (query.from ?? 0) &&
    at < (query.to ?? Number.POSITIVE_INFINITY) &&
    (query.tags ?? []).length === 0
  );
}
