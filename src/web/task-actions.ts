import { TaskflowError } from '../errors.js';
import type { CommandResult } from '../tasks/commands.js';
import { isName, nameAccepted } from '../tasks/names.js';
import { isTaskId } from '../tasks/task-id.js';
import { type About, type ActionRequest, actionRow, control, type Done } from './action-row.js';
import { unknownTask } from './task-detail.js';

/** A request for a command that concerns the queue, the schedule or the task of its path. */
type Request<Parameter extends string, Action = string> = Omit<
  ActionRequest<`POST /:${Parameter}`, undefined, undefined, Action>,
  'body'
>;

const command = { requiredRole: 'operator', body: 'reasonBody', status: 202 } as const;

const nameAs =
  (kind: 'queue' | 'schedule') =>
  ({ params: { name } }: Pick<Request<'name'>, 'params'>): About => ({
    detail: { [kind]: isName(name) ? name : name.slice(0, 128) },
  });

const ofQueue = {
  ...command,
  tag: 'control',
  answer: 'queueAnswer',
  about: nameAs('queue'),
  handler: pauseQueue,
} as const;

const ofSchedule = { ...command, tag: 'control', about: nameAs('schedule') } as const;

/** The routes of commands for a queue or a schedule. */
export const controlRows = [
  actionRow('POST /queues/:name/pause', {
    ...ofQueue,
    id: 'pauseQueue',
    action: 'pause',
    summary: 'Pauses a queue',
  }),
  actionRow('POST /queues/:name/resume', {
    ...ofQueue,
    id: 'resumeQueue',
    action: 'resume',
    summary: 'Resumes a queue',
  }),
  actionRow('POST /schedules/:name/pause', {
    ...ofSchedule,
    id: 'pauseSchedule',
    action: 'pause',
    summary: 'Pauses a schedule',
    answer: 'scheduleAnswer',
    handler: pauseSchedule,
  }),
  actionRow('POST /schedules/:name/resume', {
    ...ofSchedule,
    id: 'resumeSchedule',
    action: 'resume',
    summary: 'Resumes a schedule',
    answer: 'scheduleAnswer',
    handler: pauseSchedule,
  }),
  actionRow('POST /schedules/:name/remove', {
    ...ofSchedule,
    id: 'removeSchedule',
    action: 'remove',
    summary: 'Removes a schedule that no running process defines',
    answer: 'scheduleRemoved',
    errors: [409],
    handler: async (request) => {
      await controlSchedule(request);
      return { answer: { schedule: request.params.name, removed: true } };
    },
  }),
  actionRow('POST /schedules/:name/run', {
    ...ofSchedule,
    id: 'runSchedule',
    action: 'run',
    summary: 'Runs a schedule now',
    answer: 'taskSummary',
    handler: async (request) => {
      const [result] = await controlSchedule(request);
      if (!result?.ok) throw unknownSchedule();
      return { answer: result.task, audit: { tasks: [result.task.id] } };
    },
  }),
];

const ofTask = {
  ...command,
  tag: 'tasks',
  answer: 'taskSummary',
  errors: [409],
  about: ({ params: { id } }: Pick<Request<'id'>, 'params'>): About => ({
    tasks: [isTaskId(id) ? id : id.slice(0, 64)],
  }),
} as const;

/** The routes of commands for one task. */
export const taskActionRows = [
  actionRow('POST /:id/retry', {
    ...ofTask,
    id: 'retryTask',
    action: 'retry',
    summary: 'Runs the same task again',
    handler: controlTask,
  }),
  actionRow('POST /:id/cancel', {
    ...ofTask,
    id: 'cancelTask',
    action: 'cancel',
    summary: 'Cancels a task',
    handler: controlTask,
  }),
  actionRow('POST /:id/run', {
    ...ofTask,
    id: 'runTask',
    action: 'run',
    summary: 'Starts a delayed task now',
    handler: controlTask,
  }),
  actionRow('POST /:id/rerun', {
    ...ofTask,
    id: 'rerunTask',
    action: 'rerun',
    summary: 'Creates a new task from one that has ended',
    status: 201,
    body: 'rerunBody',
    // The body holds the arguments of the new task.
    bodyLimit: 2 * 1024 * 1024,
    handler: async ({ body: { args }, ...request }) => {
      const { ctx } = request;
      const { answer } = await controlTask(request, args && { args });
      const name = encodeURIComponent(answer.id).replaceAll('%3A', ':');
      ctx.set('Location', ctx.originalUrl.replace(/[^/]*\/rerun(\?.*)?$/, name));
      return { answer, audit: { detail: { rerunAs: answer.id } } };
    },
  }),
];

/** The actions on one task, as the message about a conflict words them. */
const participles = {
  retry: 'retried',
  cancel: 'cancelled',
  rerun: 'run again',
  run: 'started',
} as const;

/** Gives a command for one task. Answers with the task, or with the new one of a rerun. */
async function controlTask(
  { params: { id }, action, ...request }: Request<'id', keyof typeof participles>,
  more?: { args: readonly unknown[] },
): Promise<Done<'taskSummary'>> {
  if (!isTaskId(id)) throw unknownTask(id);
  const [result] = (await control(request, { action, ids: [id], ...more })).results;
  if (!result || (!result.ok && result.code === 'TASK_NOT_FOUND')) throw unknownTask(id);
  if (result.ok) return { answer: result.task };
  const { status = 'in another state', detail } = result;
  const refusal = `The task is ${status}; it cannot be ${participles[action]} now.`;
  throw new TaskflowError('TASK_STATE_CONFLICT', detail ? `${refusal} ${detail}` : refusal);
}

async function pauseQueue({
  params: { name: queue },
  action,
  ...request
}: Request<'name', 'pause' | 'resume'>): Promise<Done<'queueAnswer'>> {
  if (!isName(queue))
    throw new TaskflowError('INVALID_INPUT', `The name of a queue must be ${nameAccepted}.`);
  await control(request, { action, queue });
  return { answer: { queue, paused: action === 'pause' } };
}

async function pauseSchedule(
  request: Request<'name', 'pause' | 'resume'>,
): Promise<Done<'scheduleAnswer'>> {
  await controlSchedule(request);
  return { answer: { schedule: request.params.name, paused: request.action === 'pause' } };
}

/** Gives a command for a schedule. */
async function controlSchedule({
  params: { name: schedule },
  action,
  ...request
}: Request<'name', 'pause' | 'resume' | 'run' | 'remove'>): Promise<readonly CommandResult[]> {
  if (!isName(schedule)) throw unknownSchedule();
  return (await control(request, { action, schedule })).results;
}

function unknownSchedule(): TaskflowError {
  return new TaskflowError('NOT_FOUND', 'There is no schedule of that name.');
}
