import { realpathSync } from 'node:fs';
import { TaskflowError } from '../../errors.js';
import { wrongKind } from '../../options.js';
import type { AppConnection } from '../../tasks/engine.js';
import type { NewTask } from '../../tasks/new-task.js';
import {
  type ConnectionClass,
  type Database,
  layoutVersion,
  rollBack,
  statementsOf,
} from '../tables/schema/database.js';
import { Counters } from '../tables/write/counters.js';
import { Inserter } from '../tables/write/insert.js';
import { packTasks } from '../tables/write/packed-tasks.js';

/** The task database that `enqueueIn` writes to. */
interface Target {
  /** Path of the file. */
  path: string;
  /**
   * The class of the engine's connections. `undefined` if the engine has not opened the file yet.
   */
  Connection: ConnectionClass | undefined;
}

/**
 * Stores tasks within the open transaction of a connection that the app owns. The tasks exist if
 * and only if that transaction commits.
 *
 * @throws TypeError if the connection is not one of the engine's driver, TaskflowError
 * ENGINE_UNAVAILABLE if the connection has no open transaction or belongs to another file.
 */
export function enqueueInTransaction(
  { path, Connection }: Target,
  connection: AppConnection,
  tasks: readonly NewTask[],
): readonly string[] {
  if (!Connection) refuse('start the task manager first');
  // POSIX locks belong to the process, and each SQLite library tracks only its own. If a second
  // library were used, it would write while the engine writes, and closing its connection would
  // release the locks of the engine.
  if (!(connection instanceof Connection)) {
    throw wrongKind(
      'connection',
      connection,
      "a DatabaseSync of 'koa-taskflow/sqlite'. Another SQLite library in this process, or a " +
        'second copy of this one, ' +
        'does not see the file locks of the engine, and together they would damage the file',
    );
  }
  const database = wrapConnection(connection);
  checkConnection(path, connection, database);
  const counters = new Counters(database);
  const inserter = new Inserter(database, counters);
  // If storing fails halfway, nothing of it stays in the transaction, which the app still has to
  // end.
  database.exec('SAVEPOINT koa_taskflow');
  try {
    counters.open();
    const deduplicated = inserter.add(packTasks(tasks), Date.now());
    inserter.flush();
    counters.close();
    database.exec('RELEASE koa_taskflow');
    return deduplicated ?? tasks.map(({ id }) => id);
  } catch (error) {
    rollBack(database, 'ROLLBACK TO koa_taskflow; RELEASE koa_taskflow');
    throw error;
  }
}

/**
 * Wraps a connection of the app. It keeps no statements, because they would keep the connection
 * open.
 */
function wrapConnection(connection: AppConnection): Database {
  return {
    exec: (sql) => connection.exec(sql),
    ...statementsOf((sql) => connection.prepare(sql)),
    close: () => {},
  };
}

function checkConnection(path: string, connection: AppConnection, database: Database): void {
  if (!connection.isOpen) refuse('this connection is closed');
  if (!connection.isTransaction)
    refuse('no transaction is open on this connection; begin one with BEGIN IMMEDIATE');
  const file = database.value<string | null>(
    "SELECT file FROM pragma_database_list WHERE name = 'main'",
  );
  if (!file || !isSameFile(file, path))
    refuse(`this connection is to another file; the task database is '${path}'`);
  if (database.value('PRAGMA user_version') !== layoutVersion)
    refuse('the task database has the layout of another version of koa-taskflow');
}

function refuse(why: string): never {
  throw new TaskflowError('ENGINE_UNAVAILABLE', `enqueueIn: ${why}`);
}

function isSameFile(one: string, other: string): boolean {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    // The task database exists, so a path that does not is another file.
    return false;
  }
}
