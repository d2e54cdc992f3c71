/**
 * `koa-taskflow/sqlite`: the SQLite driver that the embedded engine uses. Connections for
 * `enqueueIn`, and every other connection of this process to the file of the tasks, must come from
 * here.
 */
export {
  /**
   * Opens a connection to a SQLite file. It has the interface of `DatabaseSync` of `node:sqlite`,
   * on every version of Node.
   *
   * @example
   * ```ts
   * import { DatabaseSync } from 'koa-taskflow/sqlite';
   * const shop = new DatabaseSync('tasks.db');
   * ```
   */
  DatabaseSync,
  /** Type of a connection. */
  type DatabaseSyncInstance,
} from '@photostructure/sqlite';
