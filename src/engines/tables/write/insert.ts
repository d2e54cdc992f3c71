import type { Database, SqlValue } from '../schema/database.js';
import { idBytes, idOf } from '../schema/rows.js';
import type { Counters } from './counters.js';
import { type PackedTasks, packedAt, packedWidth } from './packed-tasks.js';

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
  add({ values }: PackedTasks, at: number): readonly string[] | undefined {
    let deduplicated: string[] | undefined;
    for (let from = 0; from < values.length; from += packedWidth) {
      const taken =
        values[from + packedAt.key] === null ? undefined : this.#takeKey(values, from, at);
      if (taken !== undefined) {
        deduplicated ??= idsOf(values);
        deduplicated[from / packedWidth] = taken;
      } else {
        this.#gather(values, from, at);
      }
    }
    return deduplicated;
  }

  /** Takes the idempotency key of a new task, or returns the id of the task that holds the key. */
  #takeKey(values: PackedTasks['values'], from: number, at: number): string | undefined {
    const database = this.#database;
    const [id, name] = [values[from + packedAt.id], values[from + packedAt.name]];
    const [key, until] = [values[from + packedAt.key], values[from + packedAt.keyUntil]];
    const held = holderOf(database, String(name), String(key), at);
    if (held !== undefined) return held;
    database.run(
      'INSERT OR REPLACE INTO idempotency (name, key, id, expires_at) VALUES (?, ?, ?, ?)',
      name ?? null,
      key ?? null,
      idBytes(String(id)),
      until ?? null,
    );
    return undefined;
  }

  #gather(values: PackedTasks['values'], from: number, at: number): void {
    const counters = this.#counters;
    const partition = counters.partition(
      String(values[from + packedAt.name]),
      String(values[from + packedAt.queue]),
    );
    const runAt = Number(values[from + packedAt.runAt]);
    this.#gathered.push(
      counters.nextRowid(),
      values[from + packedAt.id] ?? null,
      counters.nextRev(),
      partition,
      values[from + packedAt.priority] ?? null,
      values[from + packedAt.tags] ?? null,
      values[from + packedAt.source] ?? null,
      runAt,
      runAt > at ? runAt : null,
      values[from + packedAt.deadlineAt] ?? null,
      values[from + packedAt.attempts] ?? null,
      values[from + packedAt.attempts] ?? null,
      values[from + packedAt.interrupts] ?? null,
      values[from + packedAt.args] ?? null,
      values[from + packedAt.schedule] ?? null,
      values[from + packedAt.key] ?? null,
      values[from + packedAt.waitsFrom] ?? null,
    );
    this.#rows += 1;
    counters.count(partition, 'pending', 1);
    if (values[from + packedAt.tags] !== null)
      this.#addTags(String(values[from + packedAt.id]), String(values[from + packedAt.tags]));
    if (this.#rows === rowsAtOnce) {
      this.#database.run(insertMany, ...this.#gathered);
      this.discard();
    }
  }

  #addTags(id: string, tags: string): void {
    for (const [key, value] of Object.entries(JSON.parse(tags) as Record<string, string>)) {
      this.#database.run(
        'INSERT INTO tag (key, value, id) VALUES (?, ?, ?)',
        key,
        value,
        idBytes(id),
      );
      this.#counters.countTag(key, value, 1);
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

/** Returns the id of the task that holds an idempotency key, if any. */
function holderOf(database: Database, name: string, key: string, at: number): string | undefined {
  const held = database.get(
    'SELECT id FROM idempotency WHERE name = ? AND key = ? AND released = 0 AND expires_at > ?',
    name,
    key,
    at,
  );
  return held && idOf(held.id);
}

function idsOf(values: PackedTasks['values']): string[] {
  const ids: string[] = [];
  for (let from = 0; from < values.length; from += packedWidth)
    ids.push(String(values[from + packedAt.id]));
  return ids;
}
