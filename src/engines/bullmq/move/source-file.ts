import { existsSync, renameSync, rmSync } from 'node:fs';
import { checkFile } from '../../tables/schema/check-file.js';
import { type Database, openDatabase, sqliteCode } from '../../tables/schema/database.js';
import { layOut } from '../../tables/schema/layout.js';
import { stateCode } from '../../tables/schema/states.js';
import { removePending } from '../../tables/write/remove-pending.js';
import { Writer } from '../../tables/write/writer.js';
import { unusable } from './progress.js';

/** SQLite's code for a file that another connection has locked. */
const busy = 5;
/** Maximum milliseconds to wait for the lock of another connection. */
const lockTimeout = 1000;

/**
 * The file that is moved. It is renamed twice: to `.moving` before a part of it is in Redis, so
 * that no process runs its tasks, and to `.moved` in the end.
 */
export class SourceFile {
  readonly #path: string;
  #database: Database | undefined;

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * Opens the file and locks it for other processes. The tasks of processes that died are settled
   * first, so that no task is `running`.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if there is no such file, it is in use, or it is not a
   * task database.
   */
  static async open(path: string): Promise<SourceFile> {
    const file = new SourceFile(path);
    const isMoving = existsSync(file.#moving);
    if (!isMoving) await file.#checkNames();
    const database = await file.#useAlone(isMoving ? file.#moving : path);
    file.#database = database;
    try {
      if (!isMoving) settle(database, path);
      database.exec(
        `CREATE TABLE IF NOT EXISTS moving (origin TEXT NOT NULL, prefix TEXT NOT NULL,
          begun INTEGER NOT NULL)`,
      );
      // If a user has renamed the file back, the move begins again.
      if (!isMoving) database.exec('DELETE FROM moving');
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  async #checkNames(): Promise<void> {
    const path = this.#path;
    if (existsSync(this.moved))
      throw unusable(
        existsSync(path)
          ? `'${this.moved}' exists already: rename it before you move '${path}'`
          : `'${path}' was moved before; its history is in '${this.moved}'`,
      );
    if (!existsSync(path)) throw unusable(`there is no file '${path}'`);
    await checkFile(path);
  }

  get #moving(): string {
    return `${this.#path}.moving`;
  }

  /** The name of the file after the move. */
  get moved(): string {
    return `${this.#path}.moved`;
  }

  get database(): Database {
    if (!this.#database) throw new Error('the file is not open');
    return this.#database;
  }

  /**
   * Names the move, and binds it to a prefix.
   *
   * @throws TaskflowError if the move has begun with another prefix.
   */
  nameMove(prefix: string, newOrigin: string): { origin: string; begun: boolean } {
    const { database } = this;
    const present = database.get<{ origin: string; prefix: string; begun: number }>(
      'SELECT origin, prefix, begun FROM moving',
    );
    if (!present) {
      database.run(
        'INSERT INTO moving (origin, prefix, begun) VALUES (?, ?, 0)',
        newOrigin,
        prefix,
      );
      return { origin: newOrigin, begun: false };
    }
    const begun = present.begun === 1;
    if (begun && present.prefix !== prefix)
      throw unusable(
        `a part of this file is already under the prefix '${present.prefix}': run the command ` +
          `with --prefix ${present.prefix}`,
      );
    database.run('UPDATE moving SET prefix = ?', prefix);
    return { origin: present.origin, begun };
  }

  /** Renames the file, so that no process runs its tasks. */
  async takeAway(): Promise<void> {
    if (existsSync(this.#moving)) return;
    this.close();
    renameSync(this.#path, this.#moving);
    rmSync(`${this.#path}-owners`, { recursive: true, force: true });
    this.#database = await this.#useAlone(this.#moving);
  }

  /** Records that a part of the file is in Redis. */
  begun(): void {
    this.database.run('UPDATE moving SET begun = 1');
  }

  /** Removes all but the history from the file, and renames it for the last time. */
  finish(): void {
    removePending(this.database);
    this.close();
    renameSync(this.#moving, this.moved);
  }

  close(): void {
    if (this.#database) release(this.#database);
    this.#database = undefined;
  }

  /** Opens a file and locks it for other processes until the connection is closed. */
  async #useAlone(name: string): Promise<Database> {
    const database = await openDatabase(name);
    try {
      database.exec(
        `PRAGMA busy_timeout = ${lockTimeout}; PRAGMA synchronous = FULL; PRAGMA locking_mode ` +
          '= EXCLUSIVE',
      );
      // It leaves the mode WAL, in which several processes work, only if no other process has it
      // open.
      const mode = database.value<string>('PRAGMA journal_mode = DELETE');
      if (mode !== 'delete') throw unusable(inUse(this.#path));
      database.exec('BEGIN EXCLUSIVE; COMMIT');
      return database;
    } catch (error) {
      database.close();
      throw sqliteCode(error) === busy ? unusable(inUse(this.#path)) : error;
    }
  }
}

/**
 * Closes a connection that has locked the file. The lock is released first, because the driver may
 * close the connection later than it reports.
 */
function release(database: Database): void {
  database.exec('PRAGMA locking_mode = NORMAL; SELECT count(*) FROM sqlite_schema');
  database.close();
}

const inUse = (path: string): string =>
  `'${path}' is in use: end every process that has it open first, also those that have stopped ` +
  'their tasks';

/**
 * Ends or requeues the running tasks, as the engine of the file does after a crash. No process has
 * the file open, so the processes of all running tasks have ended. A file of an older version is
 * migrated first.
 */
function settle(database: Database, path: string): void {
  layOut(database, path);
  database.get('PRAGMA journal_mode = DELETE');
  const owners = database.all<{ owner: string }>(
    `SELECT DISTINCT owner FROM task WHERE status = ${stateCode.running} AND owner IS NOT NULL UNION
      SELECT owner FROM worker`,
  );
  const at = Date.now();
  const writes = owners.map(({ owner }) => ({ kind: 'recover' as const, owner, at }));
  const { outcomes } = new Writer(database).apply({ writes, claim: undefined, at, wanted: [] });
  for (const outcome of outcomes)
    if (outcome?.ok === false)
      throw unusable('a running task of a crashed process could not be ended');
}
