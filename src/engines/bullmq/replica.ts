import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TaskStatus } from '../../tasks/types.js';
import { type Database, inMemory, openDatabase } from '../embedded/database.js';
import { layOut } from '../embedded/layout.js';
import type { Batch, BatchResult } from '../embedded/write.js';
import { Writer } from '../embedded/writer.js';

/** A batch as the journal has it: what a process wants to be told of it is its own affair. */
export type JournalBatch = Omit<Batch, 'wanted'>;

interface Open {
  connection: Database;
  writer: Writer;
}

/**
 * The tables of this process, in a file that goes with it: what the journal says, in the order of the journal. Every process
 * that reads the same journal has the same tables, down to the numbers of changes.
 */
export class Replica {
  #open: Open | undefined;

  /** For reading; it stays the same when other tables are loaded. */
  readonly database: Database = {
    exec: (sql) => this.#opened.connection.exec(sql),
    run: (sql, ...values) => this.#opened.connection.run(sql, ...values),
    get: (sql, ...values) => this.#opened.connection.get(sql, ...values),
    all: (sql, ...values) => this.#opened.connection.all(sql, ...values),
    close: () => this.close(),
  };

  get #opened(): Open {
    if (!this.#open) throw new Error('the tables are closed');
    return this.#open;
  }

  /** Begins with what a snapshot holds; without one, with empty tables whose first change has that number. */
  async load(from: { content: AsyncIterable<Uint8Array> } | { firstRev: number }): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-'));
    const path = join(folder, 'tasks.db');
    try {
      if ('content' in from) await writeFile(path, from.content);
      await this.loadFile(path);
    } finally {
      remove(folder);
    }
    if ('firstRev' in from) this.database.run("UPDATE meta SET value = ? WHERE key IN ('rev', 'first_rev')", from.firstRev);
  }

  /** Begins with the tables of a file, which is there as long as it is open and no longer, however this process ends. */
  async loadFile(path: string): Promise<void> {
    const connection = await openDatabase(path);
    // Nothing of it has to outlive the process.
    connection.exec('PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384');
    layOut(connection, inMemory);
    this.#open?.connection.close();
    this.#open = { connection, writer: new Writer(connection) };
    remove(path);
  }

  /** Number of the last change. */
  get rev(): number {
    return Number(this.database.get("SELECT value FROM meta WHERE key = 'rev'")?.value);
  }

  apply(batch: JournalBatch, wanted: readonly TaskStatus[]): BatchResult {
    return this.#opened.writer.apply({ ...batch, wanted });
  }

  /** Writes all of it to a file, without gaps. */
  copyTo(path: string): void {
    this.database.run('VACUUM INTO ?', path);
  }

  close(): void {
    this.#open?.connection.close();
    this.#open = undefined;
  }
}

/** Windows does not remove a file that is open, and sees to its folder for temporary files by itself. */
function remove(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // It lies there, and harms nobody.
  }
}
