import { TaskflowError } from '../errors.js';
import type { Route } from '../http/routes.js';
import { isName, nameAccepted } from '../tasks/names.js';
import type { Command, TaskSource } from '../tasks/source.js';
import { isTaskId } from '../tasks/task-id.js';
import { type Acting, type ActionParts, actionRoute, control, readAction, told } from './acting.js';
import { loadSchemas } from './query.js';

/** Bytes of the body of a rerun, which carries arguments. */
const rerunBytes = 2 * 1024 * 1024;

/** The routes that do something to one task, queue or schedule. */
export function actionRoutes(tasks: TaskSource, parts: ActionParts): Route[] {
  const route = (
    path: string,
    action: string,
    handle: (acting: Acting, name: string) => Promise<void>,
  ): Route => actionRoute(parts, tasks, { method: 'POST', path, action }, handle);
  return [
    route('/queues/:name/pause', 'pause', (acting, queue) => onQueue(acting, 'pause', queue)),
    route('/queues/:name/resume', 'resume', (acting, queue) => onQueue(acting, 'resume', queue)),
    route('/schedules/:name/pause', 'pause', (acting, schedule) =>
      onSchedule(acting, 'pause', schedule),
    ),
    route('/schedules/:name/resume', 'resume', (acting, schedule) =>
      onSchedule(acting, 'resume', schedule),
    ),
    route('/schedules/:name/run', 'run', (acting, schedule) => onSchedule(acting, 'run', schedule)),
    route('/schedules/:name/remove', 'remove', (acting, schedule) =>
      onSchedule(acting, 'remove', schedule),
    ),
    route('/:id/retry', 'retry', (acting, id) => onTask(acting, 'retry', id)),
    route('/:id/cancel', 'cancel', (acting, id) => onTask(acting, 'cancel', id)),
    route('/:id/run', 'run', (acting, id) => onTask(acting, 'run', id)),
    route('/:id/rerun', 'rerun', (acting, id) => onTask(acting, 'rerun', id)),
  ];
}

/** The 404 of a task. */
export function unknownTask(id: string): TaskflowError {
  return new TaskflowError(
    'TASK_NOT_FOUND',
    isTaskId(id)
      ? `There is no task ${id}; it may have been deleted.`
      : 'That is not the id of a task.',
  );
}

const participles = {
  retry: 'retried',
  cancel: 'cancelled',
  rerun: 'run again',
  run: 'started',
} as const;

async function onTask(acting: Acting, action: keyof typeof participles, id: string): Promise<void> {
  const { ctx } = acting;
  const { task } = await told(
    acting,
    action,
    { tasks: [isTaskId(id) ? id : id.slice(0, 64)] },
    async () => {
      const command = await readTaskAction(acting, action, id);
      if (!isTaskId(id)) throw unknownTask(id);
      const [result] = (await control(acting, command)).results;
      if (!result || (!result.ok && result.code === 'TASK_NOT_FOUND')) throw unknownTask(id);
      if (!result.ok)
        throw new TaskflowError(
          'TASK_STATE_CONFLICT',
          `The task is ${result.status ?? 'in another state'}; it cannot be ${participles[action]} now.${result.detail ? ` ${result.detail}` : ''}`,
        );
      const { task } = result;
      return action === 'rerun' ? { task, told: { detail: { rerunAs: task.id } } } : { task };
    },
  );
  ctx.body = task;
  ctx.status = action === 'rerun' ? 201 : 202;
  if (action === 'rerun')
    ctx.set(
      'Location',
      ctx.originalUrl.replace(
        /[^/]*\/rerun(\?.*)?$/,
        encodeURIComponent(task.id).replaceAll('%3A', ':'),
      ),
    );
}

async function readTaskAction(
  acting: Acting,
  action: keyof typeof participles,
  id: string,
): Promise<Command> {
  const { reasonBody, rerunBody } = await loadSchemas();
  if (action === 'rerun') {
    const { args } = await readAction(acting, rerunBody, rerunBytes);
    return { action, ids: [id], ...(args && { args }) };
  }
  await readAction(acting, reasonBody);
  return { action, ids: [id] };
}

async function onQueue(acting: Acting, action: 'pause' | 'resume', queue: string): Promise<void> {
  await told(acting, action, { detail: { queue: shownName(queue) } }, async () => {
    const { reasonBody } = await loadSchemas();
    await readAction(acting, reasonBody);
    if (!isName(queue))
      throw new TaskflowError('INVALID_INPUT', `The name of a queue must be ${nameAccepted}.`);
    await control(acting, { action, queue });
    return {};
  });
  acting.ctx.body = { queue, paused: action === 'pause' };
  acting.ctx.status = 202;
}

async function onSchedule(
  acting: Acting,
  action: 'pause' | 'resume' | 'run' | 'remove',
  schedule: string,
): Promise<void> {
  const { task } = await told(
    acting,
    action,
    { detail: { schedule: shownName(schedule) } },
    async () => {
      const { reasonBody } = await loadSchemas();
      await readAction(acting, reasonBody);
      if (!isName(schedule))
        throw new TaskflowError('NOT_FOUND', 'There is no schedule of that name.');
      const [result] = (await control(acting, { action, schedule })).results;
      return result?.ok
        ? { task: result.task, told: { tasks: [result.task.id] } }
        : { task: undefined };
    },
  );
  acting.ctx.body =
    task ??
    (action === 'remove' ? { schedule, removed: true } : { schedule, paused: action === 'pause' });
  acting.ctx.status = 202;
}

/** A name as the audit shows it: what cannot be one is cut. */
function shownName(text: string): string {
  return isName(text) ? text : text.slice(0, 128);
}
