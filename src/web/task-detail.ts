import { TaskflowError } from '../errors.js';
import type { TaskReader } from '../tasks/source.js';
import { isTaskId } from '../tasks/task-id.js';
import type { TaskDetail } from '../tasks/types.js';
import { type Answer, type Input, readRow } from './row.js';

/** The routes that show one task. */
export const detailRows = [
  readRow('GET /:id', {
    id: 'getTask',
    summary: 'A task with all its details',
    tag: 'tasks',
    requiredRole: 'viewer',
    query: 'detailQuery',
    answer: 'taskDetail',
    handler: async ({ tasks, showsArgs, params: { id }, query }) => {
      const { args, ...rest } = await taskOf(tasks, id, query);
      return showsArgs ? { ...rest, args } : rest;
    },
  }),
  readRow('GET /:id/logs', {
    id: 'getLogs',
    summary: 'The log of a task',
    tag: 'tasks',
    requiredRole: 'viewer',
    query: 'logQuery',
    answer: 'logPage',
    handler: ({ tasks, params: { id }, query }) => readLogs(tasks, id, query),
  }),
];

/** The 404 of a task. */
export function unknownTask(id: string): TaskflowError {
  return new TaskflowError(
    'TASK_NOT_FOUND',
    isTaskId(id)
      ? `There is no task ${id}; it may have been deleted.`
      : 'That is not the id of a task.',
  );
}

async function taskOf(
  tasks: TaskReader,
  id: string,
  query: Input<'detailQuery'>,
): Promise<TaskDetail> {
  const task = isTaskId(id) ? await tasks.get(id, query) : undefined;
  if (!task) throw unknownTask(id);
  return task;
}

async function readLogs(
  tasks: TaskReader,
  id: string,
  { limit = 500, ...query }: Input<'logQuery'>,
): Promise<Answer<'logPage'>> {
  const { after, before } = query;
  if (after !== undefined && before !== undefined)
    throw new TaskflowError('INVALID_INPUT', 'Give only one of after and before.');
  const lines = isTaskId(id) ? await tasks.logs(id, { ...query, limit: limit + 1 }) : [];
  if (lines.length === 0) await taskOf(tasks, id, { logs: 0 });
  const more = lines.length > limit;
  // The surplus line is the one farthest from where the lines are counted from.
  const items = before === undefined ? lines.slice(0, limit) : lines.slice(-limit);
  return {
    items,
    nextAfter: before === undefined && more ? (items.at(-1)?.n ?? null) : null,
    nextBefore: before !== undefined && more ? (items[0]?.n ?? null) : null,
  };
}
