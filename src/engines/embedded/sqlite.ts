/**
 * `koa-taskflow/sqlite`: the SQLite driver of the embedded engine. Use it for connections for
 * `enqueueIn`, and for every other connection of this process to the task database.
 */
import {
  type DatabaseSyncInstance,
  DatabaseSync as Driver,
  type StatementSyncInstance,
} from '@photostructure/sqlite';

/** The type of a connection. */
export type { DatabaseSyncInstance } from '@photostructure/sqlite';

/** The connection of each statement. */
const connections = new WeakMap<StatementSyncInstance, DatabaseSyncInstance>();

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
export class DatabaseSync extends Driver {
  /**
   * Compiles an SQL statement. The statement keeps its connection: the driver would close it as
   * soon as the garbage collector finds that only statements are still in use.
   */
  override prepare(...args: Parameters<DatabaseSyncInstance['prepare']>): StatementSyncInstance {
    const statement = super.prepare(...args);
    connections.set(statement, this);
    return statement;
  }
}
