import type { Readable } from 'node:stream';
import type { Context, Middleware } from 'koa';
import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';
import type { Access } from '../http/access.js';
import { ignoreCuts } from '../http/cut.js';
import { toTaskflowError } from '../http/problem.js';
import { type Route, routeTable } from '../http/routes.js';
import { booleanOption, optionsObject } from '../options.js';
import type { TaskSource } from '../tasks/source.js';
import { isTaskId } from '../tasks/task-id.js';
import { bulkRoutes } from './bulk-actions.js';
import { type ExportFormat, exportAudit, exportTasks, exportTypes, searchedOf } from './export.js';
import { readWebOptions, tasksOption, type WebOptions, webOptionNames } from './options.js';
import { listFunctions, listQueues, listSchedules, listTasks, readMetrics } from './overview.js';
import { prometheusText, prometheusType } from './prometheus.js';
import {
  readAuditExportQuery,
  readAuditQuery,
  readDetailQuery,
  readExportQuery,
  readFailureQuery,
  readFiguresQuery,
  readLogQuery,
  readMetricsQuery,
  readNoQuery,
} from './query.js';
import { actionRoutes, unknownTask } from './task-actions.js';

/** Options of {@link taskRoutes}. */
export interface TaskRoutesOptions extends WebOptions {
  /** Whether the detail of a task shows the arguments it was enqueued with. Default `false`. */
  displayFuncArgs?: boolean | undefined;
}

/**
 * The JSON API of the tasks, which `P/openapi.json` describes. Goes last: it answers every other path under `path` too, 401 to
 * nobody and 404 to somebody.
 *
 * @example
 * ```ts
 * app.use(taskRoutes(tasks, { path: '/tasks', access: auth }));
 * ```
 */
export function taskRoutes(tasks: TaskSource, options?: TaskRoutesOptions): Middleware {
  const source = tasksOption(tasks);
  const given = optionsObject<TaskRoutesOptions>('taskRoutes', options, [
    ...webOptionNames,
    'displayFuncArgs',
  ]);
  const web = readWebOptions(given);
  const showArgs = booleanOption('displayFuncArgs', given.displayFuncArgs, false);

  const routes: Route[] = [
    show('', (ctx) => listTasks(source, ctx.querystring)),
    show('/metrics', (ctx) => metrics(ctx, source)),
    {
      ...show('/metrics/prometheus', (ctx) => prometheus(ctx, source)),
      gives: ['text/plain; version=0.0.4'],
    },
    show('/failures', (ctx) => failures(ctx, source)),
    show('/workers', (ctx) => workers(ctx, source)),
    show('/functions', async (ctx) =>
      listFunctions(source, await readFiguresQuery(ctx.querystring)),
    ),
    show('/queues', async (ctx) => listQueues(source, await readFiguresQuery(ctx.querystring))),
    show('/schedules', async (ctx) => {
      await readNoQuery(ctx.querystring);
      return listSchedules(source);
    }),
    show('/audit', (ctx) => audit(ctx, web.access)),
    {
      ...show('/audit/export', (ctx) => exportTrail(ctx, web.access)),
      gives: ['text/csv', 'application/x-ndjson'],
    },
    {
      ...show('/export', (ctx) => exportList(ctx, source)),
      gives: ['text/csv', 'application/x-ndjson'],
    },
    show('/openapi.json', (ctx) => openApi(ctx, web)),
    { ...show('/health', (ctx) => health(ctx, source, web.access)), need: 'public' },
    // Answered by whoever mounts the stream; here it is only known, so that it is no task's id.
    { method: 'GET', path: '/dashboard/stream', need: 'viewer', handler: notMounted },
    { method: 'GET', path: '/dashboard', need: 'page', handler: notMounted },
    ...bulkRoutes(source, web),
    ...actionRoutes(source, web),
    show('/:id', (ctx, id) => detail(ctx, source, id, showArgs)),
    show('/:id/logs', (ctx, id) => logs(ctx, source, id)),
  ];
  return routeTable({ ...web, name: 'taskRoutes', routes, rest: true });
}

/** A route that shows something: what `read` answers is the body. */
function show(path: string, read: (ctx: Context, id: string) => Promise<object | string>): Route {
  return {
    method: 'GET',
    path,
    need: 'viewer',
    gives: ['application/json'],
    handler: async (ctx, { params }) => {
      ctx.body = await read(ctx, params.id ?? '');
    },
  };
}

function notMounted(): never {
  throw new TaskflowError('NOT_FOUND', 'There is nothing at this address.');
}

async function metrics(ctx: Context, tasks: TaskSource): Promise<object> {
  return readMetrics(tasks, await readMetricsQuery(ctx.querystring));
}

async function prometheus(ctx: Context, tasks: TaskSource): Promise<string> {
  await readNoQuery(ctx.querystring);
  ctx.type = prometheusType;
  return prometheusText(tasks);
}

async function failures(ctx: Context, tasks: TaskSource): Promise<object> {
  return tasks.aggregate('failures', await readFailureQuery(ctx.querystring));
}

async function workers(ctx: Context, tasks: TaskSource): Promise<object> {
  await readNoQuery(ctx.querystring);
  return { items: await tasks.aggregate('workers') };
}

async function openApi(
  ctx: Context,
  { access, mount }: Pick<ReturnType<typeof readWebOptions>, 'access' | 'mount'>,
): Promise<object> {
  await readNoQuery(ctx.querystring);
  // Made when it is asked for: it takes every schema there is, and hardly anybody asks twice.
  const { openApiDocument } = await runInEmptyContext(() => import('./openapi.js'));
  const prefix = mount.outside(ctx);
  const cookie = access.cookieName?.(ctx);
  return openApiDocument({
    mount: prefix,
    origin: `${ctx.protocol}://${ctx.host}`,
    login: access.describe?.(prefix),
    cookie,
  });
}

async function exportList(ctx: Context, tasks: TaskSource): Promise<Readable> {
  const { query, format } = await readExportQuery(ctx.querystring, Date.now());
  const searched = await searchedOf(tasks, query);
  if (searched !== undefined) ctx.set('Taskflow-Searched', String(searched));
  asFile(ctx, 'tasks', format);
  return exportTasks(tasks, query, format);
}

async function exportTrail(ctx: Context, access: Access): Promise<Readable> {
  const audit = auditOf(access);
  const { query, format } = await readAuditExportQuery(ctx.querystring, Date.now());
  asFile(ctx, 'audit', format);
  return exportAudit(audit, query, format);
}

/** Makes the answer a file that is saved; a client that leaves before its end is no error. */
function asFile(ctx: Context, name: string, format: ExportFormat): void {
  ignoreCuts(ctx);
  ctx.attachment(`${name}.${format}`);
  ctx.type = exportTypes[format];
}

async function audit(ctx: Context, access: Access): Promise<object> {
  const read = auditOf(access);
  return read(await readAuditQuery(ctx.querystring, Date.now()));
}

function auditOf(access: Access): NonNullable<Access['audit']> {
  if (!access.audit)
    throw new TaskflowError('NOT_SUPPORTED', 'The login of this app keeps no audit.');
  return access.audit.bind(access);
}

async function health(ctx: Context, tasks: TaskSource, access: Access): Promise<object> {
  try {
    await Promise.all([tasks.describe(), access.usable?.()]);
    return { status: 'ok' };
  } catch (thrown) {
    const { code, detail } = toTaskflowError(thrown);
    ctx.status = 503;
    return { status: 'unavailable', code, ...(detail !== undefined && { detail }) };
  }
}

async function detail(
  ctx: Context,
  tasks: TaskSource,
  id: string,
  showArgs: boolean,
): Promise<object> {
  const options = await readDetailQuery(ctx.querystring);
  const task = isTaskId(id) ? await tasks.get(id, options) : undefined;
  if (!task) throw unknownTask(id);
  const { args, ...rest } = task;
  return showArgs ? { ...rest, args } : rest;
}

async function logs(ctx: Context, tasks: TaskSource, id: string): Promise<object> {
  const query = await readLogQuery(ctx.querystring);
  const lines = isTaskId(id) ? await tasks.logs(id, { ...query, limit: query.limit + 1 }) : [];
  if (lines.length === 0 && !(isTaskId(id) && (await tasks.get(id, { logs: 0 }))))
    throw unknownTask(id);
  const more = lines.length > query.limit;
  // The one line too many is the farthest from where they are counted from.
  const items =
    query.before === undefined ? lines.slice(0, query.limit) : lines.slice(-query.limit);
  return {
    items,
    nextAfter: query.before === undefined && more ? (items.at(-1)?.n ?? null) : null,
    nextBefore: query.before !== undefined && more ? (items[0]?.n ?? null) : null,
  };
}
