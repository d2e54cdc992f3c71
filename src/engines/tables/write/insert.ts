import type { Database, SqlValue } from '../schema/database.js';
import { idBytes, idOf, tagsOf } from '../schema/rows.js';
import type { Counters } from './counters.js';
import { newTask, type PackedTask, type TaskValues } from './packed-tasks.js';

const columns =
  'rowid, id, rev, partition, status, priority, tags, source, run_at, ready_at, deadline_at, ' +
  'attempts, max_attempts, max_interrupts, args, schedule, idempotency_key, waits_from';
const row = "(?, unhex(?, '-'), ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
/** Number of rows in one INSERT statement. */
const rowsAtOnce = 10;
const insertOne = `INSERT INTO task (${columns}) VALUES ${row}`;
const insertMany = `INSERT INTO task (${columns}) VALUES ${Array(rowsAtOnce).fill(row).join(', ')}`;

/** Inserts new tasks in the open transaction, several with one statement. */
export class Inserter {
  readonly #database: Database;
  readonly #counters: Counters;
  #gathered: SqlValue[] = [];
  #rows = 0;

  constructor(database: Database, counters: Counters) {
    this.#database = database;
    this.#counters = counters;
  }

  /**
   * Adds tasks. `flush` stores those that do not fill a whole statement. If an idempotency key was
   * taken, returns the ids of all tasks, with the id of the key's holder instead of the new one.
   */
  add(tasks: readonly PackedTask[], at: number): readonly string[] | undefined {
    let deduplicated: string[] | undefined;
    for (const [index, packed] of tasks.entries()) {
      const task = newTask.unpack(packed);
      const taken = this.#takeKey(task, at);
      if (taken !== undefined) {
        deduplicated ??= tasks.map((each) => newTask.unpack(each).id);
        deduplicated[index] = taken;
      } else {
        this.#gather(task, at);
      }
    }
    return deduplicated;
  }

  /**
   * Takes the idempotency key of a new task, if it has one. If another task holds the key, returns
   * the id of that task.
   */
  #takeKey({ id, name, key, keyUntil }: TaskValues, at: number): string | undefined {
    if (key === null) return undefined;
    const database = this.#database;
    const held = database.value<Uint8Array | undefined>(
      'SELECT id FROM idempotency WHERE name = ? AND key = ? AND released = 0 AND expires_at > ?',
      name,
      key,
      at,
    );
    if (held) return idOf(held);
    database.run(
      'INSERT OR REPLACE INTO idempotency (name, key, id, expires_at) VALUES (?, ?, ?, ?)',
      name,
      key,
      idBytes(id),
      keyUntil,
    );
    return undefined;
  }

  #gather(task: TaskValues, at: number): void {
    const counters = this.#counters;
    const { id, tags, runAt, attempts } = task;
    const partition = counters.partition(task.name, task.queue);
    this.#gathered.push(
      counters.nextRowid(),
      id,
      counters.nextRev(),
      partition,
      task.priority,
      tags,
      task.source,
      runAt,
      runAt > at ? runAt : null,
      task.deadlineAt,
      attempts,
      attempts,
      task.interrupts,
      task.args,
      task.schedule,
      task.key,
      task.waitsFrom,
    );
    this.#rows += 1;
    counters.count(partition, 'pending', 1);
    if (tags !== null) addTags(this.#database, counters, idBytes(id), tagsOf(tags));
    if (this.#rows === rowsAtOnce) {
      this.#database.run(insertMany, ...this.#gathered);
      this.discard();
    }
  }

  flush(): void {
    const width = this.#gathered.length / this.#rows;
    for (let from = 0; from < this.#gathered.length; from += width) {
      this.#database.run(insertOne, ...this.#gathered.slice(from, from + width));
    }
    this.discard();
  }

  /** Discards the tasks that are not stored yet. */
  discard(): void {
    this.#gathered = [];
    this.#rows = 0;
  }
}

/** Stores and counts the tags of a new task. */
export function addTags(
  database: Database,
  counters: Counters,
  id: Uint8Array,
  tags: Readonly<Record<string, string>>,
): void {
  for (const [key, value] of Object.entries(tags)) {
    database.run('INSERT INTO tag (key, value, id) VALUES (?, ?, ?)', key, value, id);
    counters.countTag(key, value, 1);
  }
}
