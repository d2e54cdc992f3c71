import { type Access, openAccess } from '../http/access.js';
import { allowedHostsOption } from '../http/host.js';
import { mountAt } from '../http/mount.js';
import { openGuard } from '../http/open-guard.js';
import type { RouteTable } from '../http/routes.js';
import { trustedOriginsOption } from '../http/same-origin.js';
import { type Named, type OptionsOf, optionSet, type SettingsOf } from '../option-set.js';
import { loggerOption, pathOption, rangeError, wrongKind } from '../options.js';
import type { TaskSource } from '../tasks/source.js';

/** The options of every middleware over the tasks. */
export const webOptions = optionSet({
  /** Path of the routes. Default `/tasks`. */
  path: pathOption,
  /**
   * The login: what `createAuth` returned, or an {@link Access} of the app's own. Default: no
   * login, so every request is allowed.
   */
  access: accessOption,
  /** Host names that are answered without `access`, beside IP addresses and localhost. */
  allowedHosts: allowedHostsOption,
  /** Other origins whose pages may send commands, such as `https://app.example`. */
  trustedOrigins: trustedOriginsOption,
  /** The app's pino logger, or `false` for silence. */
  logger: loggerOption,
});

/** Options of every middleware over the tasks. */
export interface WebOptions extends OptionsOf<typeof webOptions>, Named {}

/** Returns the checked options as a table of routes takes them. */
export function webSettings({
  path,
  access,
  allowedHosts,
  trustedOrigins,
  logger,
}: SettingsOf<typeof webOptions>): Pick<
  RouteTable,
  'mount' | 'access' | 'trustedOrigins' | 'logger' | 'before'
> {
  const mount = mountAt(path);
  const { path: loginPath } = access as { path?: unknown };
  if (typeof loginPath === 'string' && loginPath !== mount.path)
    throw rangeError(
      `path is ${JSON.stringify(mount.path)}, but path of createAuth() is ` +
        `${JSON.stringify(loginPath)}; they must be the same`,
    );
  const before = openGuard(access, allowedHosts, logger);
  return { logger, access, mount, trustedOrigins, before };
}

/** Reads the option `access`. If it is absent, every request is allowed. */
export function accessOption(name: string, access: Access | undefined): Access {
  if (access === undefined) return openAccess();
  if (typeof access?.who !== 'function')
    throw wrongKind(name, access, 'what createAuth() returned, or an object with who(ctx)');
  return access;
}

/** What the first argument of a middleware over the tasks must be. */
export const aTaskManager = "a TaskManager, such as new TaskManager({ database: 'tasks.db' })";

/** Checks the first argument of a middleware over the tasks, and tells it that it is used. */
export function tasksOption(tasks: TaskSource): void {
  if (typeof tasks?.find !== 'function') throw wrongKind('tasks', tasks, aTaskManager);
  tasks.mounted?.();
}
