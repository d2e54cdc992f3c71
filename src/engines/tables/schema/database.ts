import type {
  DatabaseSync,
  DatabaseSyncInstance,
  StatementSyncInstance,
} from '@photostructure/sqlite';
import { TaskflowError } from '../../../errors.js';

/** What a column may hold. */
export type SqlValue = string | number | null | Uint8Array;
/** A row, by column. */
export type Row = Record<string, SqlValue>;

/** The parts of the driver that this package uses. */
export interface Database {
  exec(sql: string): void;
  /** A statement, prepared once for each text. */
  run(sql: string, ...values: SqlValue[]): void;
  get(sql: string, ...values: SqlValue[]): Row | undefined;
  all(sql: string, ...values: SqlValue[]): Row[];
  close(): void;
}

/** The `application_id` of task databases: "ktfl". */
export const applicationId = 0x6b74666c;
/** The `application_id` that pre-releases wrote: "tkfl". */
export const preReleaseId = 0x746b666c;
/** Version of the tables, the `user_version` of task databases. */
export const layoutVersion = 1;

/** Statements that a connection keeps prepared. */
const maxStatements = 1000;

/** The path that stands for a database in memory. */
export const inMemory = ':memory:';

/**
 * Opens a connection. The driver is loaded here, so that a process which opens no database does not
 * load it.
 */
export async function openDatabase(path: string): Promise<Database> {
  const Connection = await connectionClass();
  return wrap(new Connection(path));
}

/**
 * Waits for other processes instead of failing, and has every commit on the disk before it returns.
 */
export function prepareConnection(database: Database): void {
  database.exec(
    'PRAGMA busy_timeout = 10000; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384',
  );
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
      if (statements.size >= maxStatements) statements.clear();
      statement = connection.prepare(sql);
      statements.set(sql, statement);
    }
    return statement;
  };
  // The closures hold the connection: it would close by itself once nothing but its statements were
  // reachable.
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

/**
 * Returns the same connection for reading: what SQLite throws becomes a TaskflowError
 * ENGINE_UNAVAILABLE.
 */
export function forReading(database: Database): Database {
  const read = <T>(query: () => T): T => {
    try {
      return query();
    } catch (cause) {
      if (!isSqliteError(cause)) throw cause;
      throw new TaskflowError(
        'ENGINE_UNAVAILABLE',
        `the task database could not be read: ${(cause as Error).message}`,
        { cause },
      );
    }
  };
  return {
    exec: (sql) => read(() => database.exec(sql)),
    run: (sql, ...values) => read(() => database.run(sql, ...values)),
    get: (sql, ...values) => read(() => database.get(sql, ...values)),
    all: (sql, ...values) => read(() => database.all(sql, ...values)),
    close: () => database.close(),
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

/**
 * Whether an error is SQLite's. The driver gives no number to those of a statement that reads
 * several rows.
 */
function isSqliteError(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'ERR_SQLITE_ERROR';
}

/** The number of an error of SQLite; undefined if it has none. */
export function sqliteCode(error: unknown): number | undefined {
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === 'number' ? errcode & 0xff : undefined;
}

/** The error of a file that cannot be used, and why. */
export function unusable(path: string, why: string, cause?: unknown): TaskflowError {
  return new TaskflowError(
    'ENGINE_UNAVAILABLE',
    `the task database '${path}' cannot be used: ${why}`,
    { cause },
  );
}
