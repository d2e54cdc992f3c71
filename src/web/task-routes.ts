import type { Context, Middleware } from 'koa';
import { TaskflowError } from '../errors.js';
import type { Access } from '../http/access.js';
import { type Route, routeTable } from '../http/routes.js';
import { booleanOption, optionsObject } from '../options.js';
import type { TaskSource } from '../tasks/engine.js';
import { sendExport } from './export.js';
import { readWebOptions, tasksOption, type WebOptions, webOptionNames } from './options.js';
import { isTaskId, readAuditQuery, readExportQuery, readListQuery, readLogQuery, readMetricsQuery } from './query.js';
import { actionRoutes, unknownTask } from './task-actions.js';

/** Options of {@link taskRoutes}. */
export interface TaskRoutesOptions extends WebOptions {
  /** Whether the detail of a task shows the arguments it was enqueued with. Default `false`. */
  displayFuncArgs?: boolean | undefined;
}

/**
 * The JSON API of the tasks: list, detail, logs, metrics, retry, cancel, rerun, queues and schedules, export, audit, health. Goes last: it answers every other path under
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
    { method: 'GET', path: '/:id/logs', need: 'viewer', handler: (ctx, { params }) => logs(ctx, source, params.id ?? '') },
    ...actionRoutes(source, web),
  ];
  return routeTable({ ...web, name: 'taskRoutes', routes, rest: true });
}

function notMounted(): never {
  throw new TaskflowError('NOT_FOUND', 'There is nothing at this address.');
}

async function list(ctx: Context, tasks: TaskSource): Promise<void> {
  const { query, cursor } = await readListQuery(ctx.querystring, Date.now());
  const { items, next, total, totalRelation } = await tasks.find(query);
  ctx.body = { items, nextCursor: cursor(next), total, totalRelation };
}

async function metrics(ctx: Context, tasks: TaskSource): Promise<void> {
  ctx.body = await tasks.aggregate('metrics', await readMetricsQuery(ctx.querystring, Date.now()));
}

async function exportList(ctx: Context, tasks: TaskSource): Promise<void> {
  const { query, format } = await readExportQuery(ctx.querystring, Date.now());
  sendExport(ctx, tasks, query, format);
}

async function audit(ctx: Context, access: Access): Promise<void> {
  if (!access.audit) throw new TaskflowError('NOT_SUPPORTED', 'The login of this app keeps no audit.');
  const query = await readAuditQuery(ctx.querystring, Date.now());
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
  if (!task) throw unknownTask(id);
  const { args, ...rest } = task;
  ctx.body = showArgs ? { ...rest, args } : rest;
}

async function logs(ctx: Context, tasks: TaskSource, id: string): Promise<void> {
  const query = await readLogQuery(ctx.querystring);
  const lines = isTaskId(id) ? await tasks.logs(id, { ...query, limit: query.limit + 1 }) : [];
  if (lines.length === 0 && !(isTaskId(id) && (await tasks.get(id)))) throw unknownTask(id);
  const items = lines.slice(0, query.limit);
  ctx.body = { items, nextAfter: lines.length > items.length ? (items.at(-1)?.n ?? null) : null };
}
