/**
 * `koa-taskflow/sqlite`: the SQLite driver of the embedded engine. Use it for connections for
 * `enqueueIn`, and for every other connection of this process to the task database.
 */
export {
  /**
   * Opens a connection to a SQLite file. It has the interface of `DatabaseSync` of `node:sqlite` on
   * every version of Node.
   *
   * @example
   * ```ts
   * import { DatabaseSync } from 'koa-taskflow/sqlite';
   *
   * const shop = new DatabaseSync('tasks.db');
   * ```
   */
  DatabaseSync,
  /** The type of a connection. */
  type DatabaseSyncInstance,
} from '@photostructure/sqlite';
