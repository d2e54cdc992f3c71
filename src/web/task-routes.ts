import type { Context, Middleware } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Access } from '../http/access.js';
import { readBody } from '../http/body.js';
import { type Route, record, routeTable } from '../http/routes.js';
import { booleanOption, optionsObject } from '../options.js';
import type { TaskSource } from '../tasks/engine.js';
import { sendExport } from './export.js';
import { readWebOptions, tasksOption, type WebOptions, webOptionNames } from './options.js';
import { isTaskId, readAuditQuery, readExportQuery, readListQuery, readMetricsQuery } from './query.js';

/** Options of {@link taskRoutes}. */
export interface TaskRoutesOptions extends WebOptions {
  /** Whether the detail of a task shows the arguments it was enqueued with. Default `false`. */
  displayFuncArgs?: boolean | undefined;
}

/** Bytes of a request's body. */
const bodyLimit = 64 * 1024;

/**
 * The JSON API of the tasks: list, detail, metrics, retry, cancel, export, audit, health. Goes last: it answers every other path under
 * `path` too, 401 to nobody and 404 to somebody.
 *
 * @example
 * ```ts
 * app.use(taskRoutes(tasks, { path: '/tasks', access: auth }));
 * ```
 */
export function taskRoutes(tasks: TaskSource, options?: TaskRoutesOptions): Middleware {
  const given = optionsObject<TaskRoutesOptions>('taskRoutes', options, [...webOptionNames, 'displayFuncArgs']);
  const source = tasksOption(tasks);
  const web = readWebOptions(given);
  const showArgs = booleanOption('displayFuncArgs', given.displayFuncArgs, false);

  const act = (action: 'retry' | 'cancel'): Route => ({
    method: 'POST',
    path: `/:id/${action}`,
    need: 'operator',
    action,
    handler: async (ctx, { params, actor }) => {
      ctx.body = await control(ctx, source, action, params.id ?? '', actor?.name ?? 'anonymous', (event) =>
        record(ctx, web.access, web.logger, event),
      );
      ctx.status = 202;
    },
  });

  const routes: Route[] = [
    { method: 'GET', path: '', need: 'viewer', handler: (ctx) => list(ctx, source) },
    { method: 'GET', path: '/metrics', need: 'viewer', handler: (ctx) => metrics(ctx, source) },
    { method: 'GET', path: '/audit', need: 'viewer', handler: (ctx) => audit(ctx, web.access) },
    { method: 'GET', path: '/export', need: 'viewer', handler: (ctx) => exportList(ctx, source) },
    { method: 'GET', path: '/health', need: 'public', handler: (ctx) => health(ctx, source) },
    // Answered by whoever mounts the stream; here it is only known, so that it is no task's id.
    { method: 'GET', path: '/dashboard/stream', need: 'viewer', handler: notMounted },
    { method: 'GET', path: '/dashboard', need: 'page', handler: notMounted },
    { method: 'GET', path: '/:id', need: 'viewer', handler: (ctx, { params }) => detail(ctx, source, params.id ?? '', showArgs) },
    act('retry'),
    act('cancel'),
  ];
  return routeTable({ ...web, name: 'taskRoutes', routes, rest: true });
}

function notMounted(): never {
  throw new TaskflowError('NOT_FOUND', 'There is nothing at this address.');
}

async function list(ctx: Context, tasks: TaskSource): Promise<void> {
  const { query, cursor } = readListQuery(ctx.querystring);
  const { items, next, total, totalRelation } = await tasks.find(query);
  ctx.body = { items, nextCursor: cursor(next), total, totalRelation };
}

async function metrics(ctx: Context, tasks: TaskSource): Promise<void> {
  ctx.body = await tasks.aggregate('metrics', readMetricsQuery(ctx.querystring, Date.now()));
}

function exportList(ctx: Context, tasks: TaskSource): void {
  const { query, format } = readExportQuery(ctx.querystring);
  sendExport(ctx, tasks, query, format);
}

async function audit(ctx: Context, access: Access): Promise<void> {
  if (!access.audit) throw new TaskflowError('NOT_SUPPORTED', 'The login of this app keeps no audit.');
  const query = readAuditQuery(ctx.querystring, Date.now());
  ctx.body = await access.audit(query);
}

async function health(ctx: Context, tasks: TaskSource): Promise<void> {
  const well = await tasks.describe().then(
    () => true,
    () => false,
  );
  ctx.status = well ? 200 : 503;
  ctx.body = { status: well ? 'ok' : 'unavailable' };
}

async function detail(ctx: Context, tasks: TaskSource, id: string, showArgs: boolean): Promise<void> {
  const task = isTaskId(id) ? await tasks.get(id) : undefined;
  if (!task) throw unknown(id);
  const { args, ...rest } = task;
  ctx.body = showArgs ? { ...rest, args } : rest;
}

function unknown(id: string): TaskflowError {
  return new TaskflowError(
    'TASK_NOT_FOUND',
    isTaskId(id) ? `There is no task ${id}; it may have been deleted.` : 'That is not the id of a task.',
  );
}

async function control(
  ctx: Context,
  tasks: TaskSource,
  action: 'retry' | 'cancel',
  id: string,
  actor: string,
  tell: (event: Parameters<typeof record>[3]) => void,
): Promise<object> {
  const event = { action, actor, tasks: [id.slice(0, 64)] };
  try {
    if (!tasks.can.has(action)) throw new TaskflowError('NOT_SUPPORTED', `This engine cannot ${action} a task.`);
    const reason = await readReason(ctx);
    if (!isTaskId(id)) throw unknown(id);
    const { results } = await tasks.control({ action, ids: [id] }, { actor, reason });
    const [result] = results;
    if (!result || (!result.ok && result.code === 'TASK_NOT_FOUND')) throw unknown(id);
    if (!result.ok)
      throw new TaskflowError(
        'TASK_STATE_CONFLICT',
        `The task is ${result.status ?? 'in another state'}; it cannot be ${action === 'retry' ? 'retried' : 'cancelled'} now.`,
      );
    tell({ ...event, outcome: 'done' });
    return result.task;
  } catch (error) {
    tell({
      ...event,
      outcome: error instanceof TaskflowError && error.status < 500 ? 'refused' : 'failed',
      detail: { code: error instanceof TaskflowError ? error.code : 'INTERNAL' },
    });
    throw error;
  }
}

/** The optional body of an action: nothing, or `{ reason }`. */
async function readReason(ctx: Context): Promise<string | undefined> {
  const { 'content-length': length, 'transfer-encoding': chunked } = ctx.req.headers;
  if (chunked === undefined && (length === undefined || length === '0')) return undefined;
  const { fields } = await readBody(ctx, { types: ['json'], limit: bodyLimit });
  const { reason, ...others } = fields;
  if (Object.keys(others).length > 0) throw new TaskflowError('INVALID_INPUT', 'The body may have one member: reason.');
  if (reason !== undefined && (typeof reason !== 'string' || reason.length > 500))
    throw new TaskflowError('INVALID_INPUT', 'reason must be a string of at most 500 characters.');
  return reason;
}
