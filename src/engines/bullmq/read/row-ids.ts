import type { TaskSummary } from '../../../tasks/types.js';
import type { Database } from '../../tables/schema/database.js';
import { idBytes, idOf } from '../../tables/schema/rows.js';
import { idOfJob, isOwnId, type JobRef, keyOf } from '../jobs/job-ids.js';

/** A job and its row in a window. */
export interface JobRow extends JobRef {
  /** The row id. */
  readonly id: string;
  /** BullMQ's name of its state, if that is shown. */
  readonly engineState?: string;
}

/** A job's public id, and BullMQ's name of its state, if that is shown. */
interface NamedJob {
  key: string;
  state: string | null;
}

/**
 * The public ids of jobs whose row has another id, and BullMQ's names of their states. A public id
 * is kept as long as the tombstone of its row, because the change that reports the deletion
 * contains it.
 */
const layout = `
CREATE TABLE job (id BLOB PRIMARY KEY, key TEXT NOT NULL, state TEXT, gone INTEGER) WITHOUT ROWID;
CREATE UNIQUE INDEX job_key ON job (key) WHERE gone IS NULL;
CREATE TRIGGER job_gone AFTER INSERT ON tombstone BEGIN
  UPDATE job SET gone = NEW.rev WHERE id = NEW.id;
END;
CREATE TRIGGER job_forgotten AFTER DELETE ON tombstone BEGIN
  DELETE FROM job WHERE id = OLD.id AND gone = OLD.rev;
END;
`;

/**
 * Maps the row ids of a window to public ids. A job that `bullmqEngine` added has a UUIDv7, which
 * is both. Any other job has the public id `queue:jobId`, and a UUIDv7 made from it as the row id.
 */
export class RowIds {
  readonly #database: Database;
  readonly #hasOwn: boolean;
  #arePlain = true;

  /** @param hasOwn Whether a job whose id is a UUIDv7 is one of `bullmqEngine`. */
  constructor(database: Database, hasOwn: boolean) {
    this.#database = database;
    this.#hasOwn = hasOwn;
    database.exec(layout);
  }

  #isOwn(jobId: string): boolean {
    return this.#hasOwn && isOwnId(jobId);
  }

  /** Returns the row id of a job. `createdAt`: Unix milliseconds. */
  make({ queue, jobId }: JobRef, createdAt: number): string {
    return this.#isOwn(jobId) ? jobId : idOfJob(keyOf(queue, jobId), createdAt);
  }

  /** Returns the public id of a job. */
  nameOf({ queue, jobId }: JobRef): string {
    return this.#isOwn(jobId) ? jobId : keyOf(queue, jobId);
  }

  /** Stores the public id of a row that is new in the window. */
  add({ id, queue, jobId, engineState }: JobRow): void {
    if (this.#isOwn(jobId)) return;
    this.#arePlain = false;
    this.#database.run(
      'INSERT OR REPLACE INTO job (id, key, state) VALUES (?, ?, ?)',
      idBytes(id),
      keyOf(queue, jobId),
      engineState ?? null,
    );
  }

  /** Stores BullMQ's name of a job's state, if that is shown. */
  setState({ id, engineState }: JobRow): void {
    if (engineState !== undefined)
      this.#database.run('UPDATE job SET state = ? WHERE id = ?', engineState, idBytes(id));
  }

  /** Returns the row id of a job. A job of another program has one only if it is in the window. */
  of(job: JobRef): string | undefined {
    return this.rowOf(this.nameOf(job));
  }

  /** Returns the row id of a public id. */
  rowOf(name: string): string | undefined {
    if (this.#isOwn(name)) return name;
    if (this.#arePlain) return undefined;
    const id = this.#database.value<Uint8Array | undefined>(
      'SELECT id FROM job WHERE key = ? AND gone IS NULL',
      name,
    );
    return id && idOf(id);
  }

  /** Returns BullMQ's name of the state of a job in the window. */
  stateOf({ queue, jobId }: JobRef): string | undefined {
    const state = this.#database.value<string | null | undefined>(
      'SELECT state FROM job WHERE key = ? AND gone IS NULL',
      keyOf(queue, jobId),
    );
    return state ?? undefined;
  }

  /** Returns the public ids of rows. */
  names(ids: readonly string[]): readonly string[] {
    const names = this.#names(ids);
    return ids.map((id) => names.get(id)?.key ?? id);
  }

  /** Returns tasks of the window with their public ids and BullMQ's names of their states. */
  named<T extends TaskSummary>(tasks: readonly T[]): readonly T[] {
    const names = this.#names(tasks.map(({ id }) => id));
    if (names.size === 0) return tasks;
    return tasks.map((task) => {
      const { key: id, state } = names.get(task.id) ?? { key: task.id, state: null };
      return { ...task, id, ...(state !== null && { engineState: state }) };
    });
  }

  #names(ids: readonly string[]): ReadonlyMap<string, NamedJob> {
    if (this.#arePlain || ids.length === 0) return new Map();
    const rows = this.#database.all<NamedJob & { id: Uint8Array }>(
      "SELECT id, key, state FROM job WHERE id IN (SELECT unhex(value, '-') FROM json_each(?))",
      JSON.stringify(ids),
    );
    return new Map(rows.map((row) => [idOf(row.id), row]));
  }
}
