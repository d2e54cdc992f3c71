import type { Middleware } from 'koa';
import { type Route, routeTable } from '../http/routes.js';
import { booleanOption, optionsObject } from '../options.js';
import type { TaskSource } from '../tasks/source.js';
import { readWebOptions, tasksOption, type WebOptions, webOptionNames } from './options.js';
import { notMounted } from './row.js';
import { taskRows } from './task-rows.js';

/** Options of {@link taskRoutes}. */
export interface TaskRoutesOptions extends WebOptions {
  /** Whether the detail of a task shows the arguments it was enqueued with. Default `false`. */
  displayFuncArgs?: boolean | undefined;
}

/** The dashboard's page, which another middleware serves. Known here so that it is no task's id. */
const dashboard: Route = {
  method: 'GET',
  path: '/dashboard',
  requiredRole: 'page',
  handler: notMounted,
};

/**
 * The JSON API of the tasks, which `P/openapi.json` describes. Mount it last: it also answers every
 * other path under `path`, with 401 for an anonymous request and with 404 for a signed-in user.
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
  const showsArgs = booleanOption('displayFuncArgs', given.displayFuncArgs, false);
  const { access, mount, logger } = web;
  const shared = { access, mount, logger, tasks: source, showsArgs, rows: taskRows };
  const routes = [dashboard, ...taskRows.map((row) => row.route(shared))];
  return routeTable({ ...web, name: 'taskRoutes', routes, rest: true });
}
