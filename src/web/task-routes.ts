import type { Middleware } from 'koa';
import { type Route, routeTable } from '../http/routes.js';
import { flag, type OptionsOf, optionSet } from '../option-set.js';
import type { TaskSource } from '../tasks/source.js';
import { tasksOption, type WebOptions, webOptions, webSettings } from './options.js';
import { notMounted } from './row.js';
import { taskRows } from './task-rows.js';

const apiOptions = optionSet({
  /** Whether the detail of a task shows the arguments it was enqueued with. Default `false`. */
  displayFuncArgs: flag(false),
});
const routeOptions = optionSet({ ...webOptions.rows, ...apiOptions.rows });

/** Options of {@link taskRoutes}. */
export interface TaskRoutesOptions extends WebOptions, OptionsOf<typeof apiOptions> {}

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
  tasksOption(tasks);
  const settings = routeOptions.read(options, { where: 'taskRoutes' });
  const web = webSettings(settings);
  const shared = { ...web, tasks, showsArgs: settings.displayFuncArgs, rows: taskRows };
  const routes = [dashboard, ...taskRows.map((row) => row.route(shared))];
  return routeTable({ ...web, name: 'taskRoutes', routes, rest: true });
}
