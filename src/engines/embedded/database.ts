import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync, DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';
import { TaskflowError } from '../../errors.js';

/** What a column may hold. */
export type SqlValue = string | number | null | Uint8Array;
/** A row, by column. */
export type Row = Record<string, SqlValue>;

/** The parts of the driver that are used. */
export interface Database {
  exec(sql: string): void;
  /** A statement, prepared once for each text. */
  run(sql: string, ...values: SqlValue[]): void;
  get(sql: string, ...values: SqlValue[]): Row | undefined;
  all(sql: string, ...values: SqlValue[]): Row[];
  close(): void;
}

/** In the header of our files, at offset 68: "tkfl". */
export const applicationId = 0x746b666c;
/** Version of the layout, in the header at offset 60. */
export const layoutVersion = 6;

/** Statements that a connection keeps prepared. */
const mostStatements = 1000;

/** The path that stands for a database in memory. */
export const inMemory = ':memory:';

/** Opens a connection. The driver is loaded here, so that a process which opens no database does not load it. */
export async function openDatabase(path: string): Promise<Database> {
  const Connection = await connectionClass();
  return wrap(new Connection(path));
}

/** The class of the driver's connections. */
export type ConnectionClass = typeof DatabaseSync;

/** Loads the driver and returns the class of its connections. */
export async function connectionClass(): Promise<ConnectionClass> {
  return (await import('@photostructure/sqlite')).DatabaseSync;
}

function wrap(connection: DatabaseSyncInstance): Database {
  const statements = new Map<string, StatementSyncInstance>();
  const prepared = (sql: string): StatementSyncInstance => {
    let statement = statements.get(sql);
    if (!statement) {
      // Few texts come again and again; those that do not must not pile up.
      if (statements.size >= mostStatements) statements.clear();
      statement = connection.prepare(sql);
      statements.set(sql, statement);
    }
    return statement;
  };
  // The closures hold the connection: it would close by itself once nothing but its statements were reachable.
  return {
    exec: (sql) => connection.exec(sql),
    run: (sql, ...values) => void prepared(sql).run(...values),
    get: (sql, ...values) => prepared(sql).get(...values) as Row | undefined,
    all: (sql, ...values) => prepared(sql).all(...values) as Row[],
    close: () => {
      statements.clear();
      connection.close();
    },
  };
}

/** Ends a transaction that failed. */
export function rollBack(database: Database): void {
  try {
    database.exec('ROLLBACK');
  } catch {
    // SQLite has rolled back by itself after some errors, a full disk among them.
  }
}

/** Whether an error is SQLite's, and which. */
export function sqliteCode(error: unknown): number | undefined {
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === 'number' ? errcode & 0xff : undefined;
}

/**
 * Refuses a file that is not ours before SQLite ever opens it, so that it stays as it is. A file that does not exist yet, or
 * is empty, will be made ours.
 *
 * @throws TaskflowError ENGINE_UNAVAILABLE saying what is wrong with the file.
 */
export function checkFile(path: string): void {
  const header = readHeader(path);
  if (header === undefined || header.length === 0) return;
  if (header.length < 100 || header.toString('latin1', 0, 16) !== 'SQLite format 3\0') {
    throw unusable(path, 'it is not an SQLite database, or it is damaged');
  }
  if (header.readUInt32BE(68) !== applicationId) throw unusable(path, 'it is the database of another program');
  if (header.readUInt32BE(60) > layoutVersion) throw unusable(path, 'it was written by a newer version of koa-taskflow');
}

function readHeader(path: string): Buffer | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ENOENT') throw unusable(path, 'it cannot be read', cause);
    if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory()) throw unusable(path, 'its folder does not exist', cause);
    return undefined;
  }
  try {
    const header = Buffer.alloc(100);
    return header.subarray(0, readSync(file, header, 0, 100, 0));
  } catch (cause) {
    throw unusable(path, 'it cannot be read', cause);
  } finally {
    closeSync(file);
  }
}

/** The error of a file that cannot be used, and why. */
export function unusable(path: string, why: string, cause?: unknown): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', `the task database '${path}' cannot be used: ${why}`, { cause });
}
