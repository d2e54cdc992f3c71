import { type Access, openAccess } from '../http/access.js';
import { allowedHostsOption } from '../http/host.js';
import { type Mount, mountAt } from '../http/mount.js';
import { openGuard } from '../http/open-guard.js';
import type { RouteTable } from '../http/routes.js';
import { trustedOriginsOption } from '../http/same-origin.js';
import { type Logger, loggerOption, pathOption, rangeError, wrongType } from '../options.js';
import type { TaskSource } from '../tasks/source.js';

/** Options of every middleware over the tasks. */
export interface WebOptions {
  /** Path of the routes. Default `/tasks`. */
  path?: string | undefined;
  /**
   * The login: what `createAuth` returned, or an {@link Access} of the app's own. Default: no
   * login, so every request is allowed.
   */
  access?: Access | undefined;
  /** Host names that are answered without `access`, beside IP addresses and localhost. */
  allowedHosts?: readonly string[] | undefined;
  /** Other origins whose pages may send commands, such as `https://app.example`. */
  trustedOrigins?: readonly string[] | undefined;
  /** The app's pino logger, or `false` for silence. */
  logger?: Logger | false | undefined;
}

/** Names of the options of every middleware over the tasks. */
export const webOptionNames = [
  'path',
  'access',
  'allowedHosts',
  'trustedOrigins',
  'logger',
] as const;

/** Checks the options and returns them as a table of routes takes them. */
export function readWebOptions(options: WebOptions): Pick<
  RouteTable,
  'mount' | 'access' | 'trustedOrigins' | 'logger' | 'before'
> & {
  mount: Mount;
} {
  const logger = loggerOption('logger', options.logger);
  const access = accessOption(options.access);
  const mount = mountAt(pathOption('path', options.path));
  const { path } = access as { path?: unknown };
  if (typeof path === 'string' && path !== mount.path)
    throw rangeError(
      `path is ${JSON.stringify(mount.path)}, but path of createAuth() is ` +
        `${JSON.stringify(path)}; they must be the same`,
    );
  return {
    logger,
    access,
    mount,
    trustedOrigins: trustedOriginsOption('trustedOrigins', options.trustedOrigins),
    before: openGuard(access, allowedHostsOption('allowedHosts', options.allowedHosts), logger),
  };
}

/** Reads the option `access`. If it is absent, every request is allowed. */
export function accessOption(access: Access | undefined): Access {
  if (access === undefined) return openAccess();
  if (typeof access !== 'object' || access === null || typeof access.who !== 'function')
    throw wrongType('access', access, 'what createAuth() returned, or an object with who(ctx)');
  return access;
}

/** What the first argument of a middleware over the tasks must be. */
export const aTaskManager = "a TaskManager, such as new TaskManager({ database: 'tasks.db' })";

/** Checks the first argument of a middleware over the tasks. */
export function tasksOption(tasks: TaskSource): TaskSource {
  if (typeof tasks !== 'object' || tasks === null || typeof tasks.find !== 'function')
    throw wrongType('tasks', tasks, aTaskManager);
  tasks.mounted?.();
  return tasks;
}
