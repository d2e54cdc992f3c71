import type {
  DatabaseSync,
  DatabaseSyncInstance,
  StatementSyncInstance,
} from '@photostructure/sqlite';
import { TaskflowError } from '../../../errors.js';

/** A value of a column. */
export type SqlValue = string | number | null | Uint8Array;
/**
 * The parts of the driver that this package uses. The caller of a statement declares what it
 * selects: a column that can be NULL is `T | null`. Each statement text is prepared once.
 */
export interface Database {
  exec(sql: string): void;
  /** Returns the number of changed rows. */
  run(sql: string, ...values: SqlValue[]): number;
  /** Returns the first row, if there is one. */
  get<Row = Record<string, SqlValue>>(sql: string, ...values: SqlValue[]): Row | undefined;
  /** Returns the first column of the first row. It is `undefined` if there is no row. */
  value<T>(sql: string, ...values: SqlValue[]): T;
  all<Row = Record<string, SqlValue>>(sql: string, ...values: SqlValue[]): Row[];
  close(): void;
}

/** The `application_id` of task databases, "ktfl" in ASCII. */
export const applicationId = 0x6b74666c;
/** The `application_id` of pre-release databases, "tkfl" in ASCII. */
export const preReleaseId = 0x746b666c;
/** The version of the tables, stored as the `user_version` of task databases. */
export const layoutVersion = 1;

/** Maximum number of statements that a connection keeps prepared. */
const maxStatements = 1000;

/** The path of a database in memory. */
export const inMemory = ':memory:';

/**
 * Opens a connection. The driver is loaded with the first connection, so a process without a
 * database does not load it.
 */
export async function openDatabase(path: string): Promise<Database> {
  const Connection = await connectionClass();
  return wrap(new Connection(path));
}

/**
 * Configures a connection: it waits for the locks of other processes, and it syncs each commit to
 * disk before the commit returns.
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
      // Most statement texts are reused. Texts that are used only once must not accumulate.
      if (statements.size >= maxStatements) statements.clear();
      statement = connection.prepare(sql);
      statements.set(sql, statement);
    }
    return statement;
  };
  // The closures reference the connection. If only its statements were reachable, the driver would
  // close the connection during garbage collection.
  return {
    exec: (sql) => connection.exec(sql),
    ...statementsOf(prepared),
    close: () => {
      statements.clear();
      connection.close();
    },
  };
}

/**
 * Runs the statements that `prepare` returns. Only the text of a statement says what it selects, so
 * the driver returns `any`. This is the place where it gets the type that the caller declares.
 */
export function statementsOf(
  prepare: (sql: string) => StatementSyncInstance,
): Pick<Database, 'run' | 'get' | 'value' | 'all'> {
  return {
    run: (sql, ...values) => Number(prepare(sql).run(...values).changes),
    get: (sql, ...values) => prepare(sql).get(...values),
    value: (sql, ...values) => Object.values(prepare(sql).get(...values) ?? {})[0] as never,
    all: (sql, ...values) => prepare(sql).all(...values),
  };
}

/**
 * Returns a view of the connection for reading. It converts each error of SQLite to a TaskflowError
 * with code ENGINE_UNAVAILABLE.
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
    value: (sql, ...values) => read(() => database.value(sql, ...values)),
    all: (sql, ...values) => read(() => database.all(sql, ...values)),
    close: () => database.close(),
  };
}

/** Rolls back a failed transaction, or with another `sql` a savepoint. */
export function rollBack(database: Database, sql = 'ROLLBACK'): void {
  try {
    database.exec(sql);
  } catch {
    // After some errors, such as a full disk, SQLite has already rolled back.
  }
}

/**
 * Returns whether SQLite raised an error. The driver sets no error number if a statement that reads
 * several rows fails.
 */
function isSqliteError(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'ERR_SQLITE_ERROR';
}

/** SQLITE_BUSY: the error number of a lock that was not released within the timeout. */
export const busy = 5;

/** Returns the error number of a SQLite error, or `undefined` if it has none. */
export function sqliteCode(error: unknown): number | undefined {
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === 'number' ? errcode & 0xff : undefined;
}

/** Creates the error for a file that cannot be used, with the reason. */
export function unusable(path: string, why: string, cause?: unknown): TaskflowError {
  return new TaskflowError(
    'ENGINE_UNAVAILABLE',
    `the task database '${path}' cannot be used: ${why}`,
    { cause },
  );
}
