import { realpathSync } from 'node:fs';
import { TaskflowError } from '../../errors.js';
import { wrongType } from '../../options.js';
import type { NewTask } from '../../tasks/engine.js';
import { type Database, inMemory, layoutVersion, type Row } from './database.js';
import { Inserter } from './insert.js';
import { Ledger } from './ledger.js';
import { packTasks } from './write.js';

/** A connection of the app's own: of `node:sqlite`, of `@photostructure/sqlite`, or of `better-sqlite3`. */
export interface AppConnection {
  exec(sql: string): unknown;
  prepare(sql: string): {
    run(...values: never[]): unknown;
    get(...values: never[]): unknown;
    all(...values: never[]): unknown[];
  };
  readonly isTransaction?: boolean;
  readonly inTransaction?: boolean;
}

/**
 * Stores tasks within the transaction that is open on a connection of the app's own: they exist exactly when it commits.
 *
 * @throws TypeError for what is no connection; TaskflowError ENGINE_UNAVAILABLE for one without an open transaction or on
 * another file.
 */
export function enqueueInTransaction(path: string, connection: AppConnection, tasks: readonly NewTask[]): readonly string[] {
  const database = wrapConnection(connection);
  checkConnection(path, connection, database);
  const ledger = new Ledger(database);
  const inserter = new Inserter(database, ledger);
  // What fails half way leaves no trace in the transaction, which stays open for the app to end.
  database.exec('SAVEPOINT koa_taskflow');
  try {
    ledger.open();
    const standing = inserter.add(packTasks(tasks), Date.now());
    inserter.flush();
    ledger.close();
    database.exec('RELEASE koa_taskflow');
    return standing ?? tasks.map(({ id }) => id);
  } catch (error) {
    database.exec('ROLLBACK TO koa_taskflow; RELEASE koa_taskflow');
    throw error;
  }
}

/** Statements are not kept: they would keep the app's connection open. */
function wrapConnection(connection: AppConnection): Database {
  if (
    typeof connection !== 'object' ||
    connection === null ||
    typeof connection.prepare !== 'function' ||
    typeof connection.exec !== 'function'
  )
    throw wrongType('database', connection, 'an open SQLite connection, such as a DatabaseSync');
  return {
    exec: (sql) => void connection.exec(sql),
    run: (sql, ...values) => void connection.prepare(sql).run(...(values as never[])),
    get: (sql, ...values) => connection.prepare(sql).get(...(values as never[])) as Row | undefined,
    all: (sql, ...values) => connection.prepare(sql).all(...(values as never[])) as Row[],
    close: () => {},
  };
}

function checkConnection(path: string, connection: AppConnection, database: Database): void {
  const refuse = (why: string): never => {
    throw new TaskflowError('ENGINE_UNAVAILABLE', `enqueueIn: ${why}`);
  };
  const open = connection.isTransaction ?? connection.inTransaction;
  if (open === undefined) refuse('this driver does not say whether a transaction is open; a newer version of it may');
  if (open !== true) refuse('no transaction is open on this connection; begin one with BEGIN IMMEDIATE');
  if (path === inMemory) refuse('tasks in memory are on no file that an app could open');
  const { file } = database.all('PRAGMA database_list').find(({ name }) => name === 'main') ?? {};
  if (typeof file !== 'string' || file === '' || !isSameFile(file, path)) refuse(`this connection is not of the task database '${path}'`);
  if (database.get('PRAGMA user_version')?.user_version !== layoutVersion) refuse('start the task manager first: it lays out the database');
}

function isSameFile(one: string, other: string): boolean {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    // One that is not there is not the same.
    return false;
  }
}
