import type { Context } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Access, Actor } from '../http/access.js';
import { readBody } from '../http/body.js';
import { type Route, record } from '../http/routes.js';
import type { Logger } from '../options.js';
import type { Command, Outcome, TaskSource } from '../tasks/engine.js';
import { isTaskId, loadSchemas } from './query.js';
import { readFields } from './read-input.js';

/** Bytes of the body of an action; that of a rerun carries arguments. */
const bodyLimit = { action: 64 * 1024, rerun: 2 * 1024 * 1024 };

interface Parts {
  access: Access;
  logger: Logger;
}

/** What every action of one request needs. */
interface Acting extends Parts {
  ctx: Context;
  tasks: TaskSource;
  actor: string;
}

/** The routes that change something: each is for operators, and leaves a row in the audit. */
export function actionRoutes(tasks: TaskSource, { access, logger }: Parts): Route[] {
  const route = (path: string, action: string, handle: (acting: Acting, name: string) => Promise<void>): Route => ({
    method: 'POST',
    path,
    need: 'operator',
    action,
    handler: (ctx, { params, actor }) => handle({ ctx, tasks, access, logger, actor: nameOf(actor) }, params.id ?? params.name ?? ''),
  });
  return [
    route('/queues/:name/pause', 'pause', (acting, queue) => onQueue(acting, 'pause', queue)),
    route('/queues/:name/resume', 'resume', (acting, queue) => onQueue(acting, 'resume', queue)),
    route('/schedules/:name/pause', 'pause', (acting, schedule) => onSchedule(acting, 'pause', schedule)),
    route('/schedules/:name/resume', 'resume', (acting, schedule) => onSchedule(acting, 'resume', schedule)),
    route('/schedules/:name/run', 'run', (acting, schedule) => onSchedule(acting, 'run', schedule)),
    route('/:id/retry', 'retry', (acting, id) => onTask(acting, 'retry', id)),
    route('/:id/cancel', 'cancel', (acting, id) => onTask(acting, 'cancel', id)),
    route('/:id/rerun', 'rerun', (acting, id) => onTask(acting, 'rerun', id)),
  ];
}

function nameOf(actor: Actor | undefined): string {
  return actor?.name ?? 'anonymous';
}

/** The 404 of a task. */
export function unknownTask(id: string): TaskflowError {
  return new TaskflowError(
    'TASK_NOT_FOUND',
    isTaskId(id) ? `There is no task ${id}; it may have been deleted.` : 'That is not the id of a task.',
  );
}

const participles = { retry: 'retried', cancel: 'cancelled', rerun: 'run again' } as const;

async function onTask(acting: Acting, action: keyof typeof participles, id: string): Promise<void> {
  const { ctx } = acting;
  const { result } = await told(acting, action, { tasks: [id.slice(0, 64)] }, async () => {
    const { reason, args } = await readAction(ctx, action);
    if (!isTaskId(id)) throw unknownTask(id);
    const command: Command = action === 'rerun' ? { action, ids: [id], args } : { action, ids: [id] };
    const { results } = await control(acting, command, reason);
    const [result] = results;
    if (!result || (!result.ok && result.code === 'TASK_NOT_FOUND')) throw unknownTask(id);
    if (!result.ok)
      throw new TaskflowError(
        'TASK_STATE_CONFLICT',
        `The task is ${result.status ?? 'in another state'}; it cannot be ${participles[action]} now.`,
      );
    return { result };
  });
  ctx.body = result.task;
  ctx.status = action === 'rerun' ? 201 : 202;
  if (action === 'rerun') ctx.set('Location', ctx.originalUrl.replace(/[^/]*\/rerun(\?.*)?$/, result.task.id));
}

async function onQueue(acting: Acting, action: 'pause' | 'resume', queue: string): Promise<void> {
  await told(acting, action, { detail: { queue } }, async () => {
    const { reason } = await readAction(acting.ctx, action);
    if (queue === '' || queue.length > 128) throw new TaskflowError('INVALID_INPUT', 'The name of a queue has 1 to 128 characters.');
    await control(acting, { action, queue }, reason);
  });
  acting.ctx.body = { queue, paused: action === 'pause' };
  acting.ctx.status = 202;
}

async function onSchedule(acting: Acting, action: 'pause' | 'resume' | 'run', schedule: string): Promise<void> {
  const outcome = await told(acting, action, { detail: { schedule: schedule.slice(0, 128) } }, async () => {
    const { reason } = await readAction(acting.ctx, action);
    const done = await control(acting, { action, schedule }, reason);
    if (!done.known) throw new TaskflowError('NOT_FOUND', 'There is no schedule of that name.');
    return done;
  });
  const [result] = outcome.results;
  acting.ctx.body = result?.ok ? result.task : { schedule, paused: action === 'pause' };
  acting.ctx.status = 202;
}

async function control({ tasks, actor }: Acting, command: Command, reason: string | undefined): Promise<Outcome> {
  if (!tasks.can.has(command.action)) throw new TaskflowError('NOT_SUPPORTED', `This engine cannot ${command.action}.`);
  return tasks.control(command, { actor, reason });
}

/** Does it, and tells the log and the audit how that went. */
async function told<T>(
  { ctx, access, logger, actor }: Acting,
  action: string,
  about: { tasks?: string[]; detail?: Record<string, string> },
  act: () => Promise<T>,
): Promise<T> {
  const event = { action, actor, ...about };
  try {
    const result = await act();
    record(ctx, access, logger, { ...event, outcome: 'done' });
    return result;
  } catch (error) {
    const known = error instanceof TaskflowError;
    record(ctx, access, logger, {
      ...event,
      outcome: known && error.status < 500 ? 'refused' : 'failed',
      detail: { ...about.detail, code: known ? error.code : 'INTERNAL' },
    });
    throw error;
  }
}

/** The body of an action, which may be absent: a reason, and for a rerun other arguments, as JSON text. */
async function readAction(ctx: Context, action: string): Promise<{ reason?: string | undefined; args?: string | undefined }> {
  const { 'content-length': length, 'transfer-encoding': chunked } = ctx.req.headers;
  if (chunked === undefined && (length === undefined || length === '0')) return {};
  const limit = action === 'rerun' ? bodyLimit.rerun : bodyLimit.action;
  const { fields } = await readBody(ctx, { types: ['json'], limit });
  const { reasonBody, rerunBody } = await loadSchemas();
  if (action !== 'rerun') return readFields(reasonBody, fields);
  const { reason, args } = readFields(rerunBody, fields);
  return { reason, args: args && JSON.stringify(args) };
}
