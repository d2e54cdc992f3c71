import type { TaskStatus } from '../../../tasks/types.js';
import type { Database, SqlValue } from '../schema/database.js';
import { isNotRunning, stateCode } from '../schema/states.js';
import type { Position } from './position.js';

/** A column that a list can be sorted by before the id. */
export type Valued = 'started_at' | 'ended_at' | 'duration';

/** An index scan: the `FROM` and `WHERE` of one index, without a key range. */
export interface Source {
  from: string;
  where: string;
  params: readonly SqlValue[];
  /** The column of the id. Default `task.id`. */
  id?: string;
  /** The column that the list is sorted by before the id. */
  value?: Valued;
  /** The number of rows, if a counter has it. */
  n?: number;
  /** A query on the word index of failures, used instead of `where`. */
  match?: string;
}

/** SQL and its parameters. */
export interface Condition {
  sql: string;
  params: readonly SqlValue[];
}

/** A tag, or the key of one with any value. */
export interface Tag {
  key: string;
  value?: string | undefined;
}

/** A name together with a queue. */
export interface Partition {
  id: number;
  name: string;
}

/** Scans an index of the table `task`. */
export function scan(index: string, where: string, ...params: readonly SqlValue[]): Source {
  return { from: `task INDEXED BY ${index}`, where, params };
}

/**
 * Scans the tasks in a state. The number of running tasks is small, so one index serves all orders.
 */
export function statusSource(state: TaskStatus): Source {
  return state === 'running'
    ? scan('task_running', `status = ${stateCode.running}`)
    : scan('task_status', `status = ${stateCode[state]} AND ${isNotRunning}`);
}

/** Scans the tasks of a partition in a state. */
export function partitionSource(state: TaskStatus, { id }: Partition): Source {
  return state === 'running'
    ? scan('task_running', `status = ${stateCode.running} AND partition = ?`, id)
    : scan(
        'task_partition',
        `partition = ? AND status = ${stateCode[state]} AND ${isNotRunning}`,
        id,
      );
}

/** The number up to which totals are counted exactly. */
export const countedTo = 10_000;

/**
 * Scans the tasks with a tag, with their number. If only the key is given, at most {@link
 * countedTo} + 1 values of the key are added up.
 */
export function countedTag(database: Database, tag: Tag): Source {
  const { key, value } = tag;
  const n =
    value === undefined
      ? database.value<number | null>(
          'SELECT sum(n) FROM (SELECT n FROM tag_count WHERE key = ? LIMIT ?)',
          key,
          countedTo + 1,
        )
      : database.value<number | undefined>(
          'SELECT n FROM tag_count WHERE key = ? AND value = ?',
          key,
          value,
        );
  return { ...tagSource(tag), n: n ?? 0 };
}

/** Scans the tasks with a tag. */
function tagSource({ key, value }: Tag): Source {
  const from = 'tag JOIN task ON task.id = tag.id';
  if (value === undefined) return { from, where: 'tag.key = ?', params: [key], id: 'tag.id' };
  return { from, where: 'tag.key = ? AND tag.value = ?', params: [key, value], id: 'tag.id' };
}

/** Returns the condition that a candidate has a tag. */
export function tagCondition({ key, value }: Tag): Condition {
  if (value === undefined)
    return {
      sql: 'EXISTS (SELECT 1 FROM tag WHERE tag.key = ? AND tag.id = candidate.id)',
      params: [key],
    };
  return {
    sql: 'EXISTS (SELECT 1 FROM tag WHERE tag.key = ? AND tag.value = ? AND tag.id = candidate.id)',
    params: [key, value],
  };
}

/** Returns a `WHERE` clause in which all conditions must hold. */
export function whereOf(conditions: readonly Condition[]): string {
  return conditions.length === 0 ? '' : `WHERE ${conditions.map(({ sql }) => sql).join(' AND ')}`;
}

/** Returns the parameters of the conditions, in order. */
export function paramsOf(conditions: readonly Condition[]): SqlValue[] {
  return conditions.flatMap(({ params }) => [...params]);
}

/**
 * Assumed maximum number of tasks that are stored between two tasks whose ids are in reverse order.
 * Ids are created when a task is prepared, which may be long before it is stored.
 */
const disorder = 100;

/** The first time that an id can hold, in Unix milliseconds. */
const firstMoment = 0;
const lastMoment = 2 ** 48 - 1;

/** The key range of a list and its direction. Turns an index scan into SQL. */
export class Span {
  readonly #database: Database;
  readonly #descending: boolean;
  readonly bounds: readonly [Uint8Array, Uint8Array];
  readonly bounded: boolean;

  /** Limits the list to tasks created at or after `from` and before `to`, in Unix milliseconds. */
  constructor(database: Database, descending: boolean, from = firstMoment, to = lastMoment) {
    this.#database = database;
    this.#descending = descending;
    this.bounds = [firstId(from), firstId(to)];
    this.bounded = from > firstMoment || to < lastMoment;
  }

  /** Returns the SQL of one scan: its candidates in order, after a position. */
  select(source: Source, after: Position | undefined, limit: number): Condition {
    if (source.match !== undefined) return this.#selectMatches(source.match, after, limit);
    const { sql, params } = this.#unordered(source, after);
    return { sql: `${sql} ${this.#order(source)} LIMIT ?`, params: [...params, limit] };
  }

  /**
   * Returns the SQL that merges several scans that share no task. SQLite reads the rows of each in
   * index order, and no more than it needs.
   */
  selectMerged(sources: readonly Source[], after: Position | undefined, limit: number): Condition {
    const parts = sources.map((source) => this.#unordered(source, after));
    const order = sources[0] ? this.#order(sources[0]) : '';
    return {
      sql: `${parts.map(({ sql }) => sql).join(' UNION ALL ')} ${order} LIMIT ?`,
      params: [...paramsOf(parts), limit],
    };
  }

  #order({ value }: Source): string {
    const direction = this.#descending ? 'DESC' : 'ASC';
    return value ? `ORDER BY value ${direction}, id ${direction}` : `ORDER BY id ${direction}`;
  }

  #unordered(
    { from, where, params, id = 'task.id', value }: Source,
    after: Position | undefined,
  ): Condition {
    const [low, high] = this.bounds;
    const compare = this.#descending ? '<' : '>';
    const columns =
      `task.rowid, ${id} AS id, ${value ?? 'NULL'} AS value, partition, status, fingerprint, ` +
      'schedule';
    if (value) {
      const bound = after ? `AND (${value}, ${id}) ${compare} (?, ?)` : '';
      return {
        sql: `SELECT ${columns} FROM ${from} WHERE ${where} ${bound}`,
        params: [...params, ...(after ? [after.value, bytesOf(after.id)] : [])],
      };
    }
    const start = after && bytesOf(after.id);
    const least = !this.#descending && start ? `${id} > ?` : `${id} >= ?`;
    return {
      sql: `SELECT ${columns} FROM ${from} WHERE ${where} AND ${least} AND ${id} < ?`,
      params: [
        ...params,
        !this.#descending && start ? start : low,
        this.#descending && start && Buffer.compare(start, high) < 0 ? start : high,
      ],
    };
  }

  /**
   * Scans the word index, which is in the order of row ids. That is nearly the order of ids, so
   * this reads a few more rows than requested and sorts them by id.
   */
  #selectMatches(match: string, after: Position | undefined, limit: number): Condition {
    const direction = this.#descending ? 'DESC' : 'ASC';
    const compare = this.#descending ? '<' : '>';
    const nearest =
      after &&
      this.#database.value<number | undefined>(
        'SELECT rowid FROM task WHERE id = ?',
        bytesOf(after.id),
      );
    const rowid = nearest
      ? nearest + (this.#descending ? disorder : -disorder)
      : this.#descending
        ? Number.MAX_SAFE_INTEGER
        : 0;
    return {
      sql: `SELECT task.rowid, task.id AS id, NULL AS value, partition, status, fingerprint,
          schedule
        FROM (SELECT rowid FROM failure WHERE failure MATCH ? AND rowid ${compare} ?
          ORDER BY rowid ${direction} LIMIT ?) AS found
        JOIN task ON task.rowid = found.rowid WHERE task.id >= ?
          AND task.id < ? ${after ? `AND task.id ${compare} ?` : ''}
        ORDER BY task.id ${direction} LIMIT ?`,
      params: [
        match,
        rowid,
        limit + 2 * disorder,
        ...this.bounds,
        ...(after ? [bytesOf(after.id)] : []),
        limit,
      ],
    };
  }

  /**
   * Returns SQL for the row ids of a scan, without their order. It reads the tasks themselves only
   * if it has to.
   */
  numbers({ from, where, params, id = 'task.id', match }: Source, limit: number): Condition {
    if (match !== undefined) {
      if (!this.bounded)
        return {
          sql: 'SELECT rowid FROM failure WHERE failure MATCH ? LIMIT ?',
          params: [match, limit],
        };
      return {
        sql: `SELECT task.rowid AS rowid FROM failure JOIN task ON task.rowid = failure.rowid
          WHERE failure MATCH ? AND task.id >= ? AND task.id < ? LIMIT ?`,
        params: [match, ...this.bounds, limit],
      };
    }
    const rowid =
      id === 'task.id' ? 'task.rowid' : '(SELECT rowid FROM task WHERE task.id = tag.id)';
    const table = id === 'task.id' ? from : 'tag';
    return {
      sql: `SELECT ${rowid} AS rowid FROM ${table}
        WHERE ${where} AND ${id} >= ? AND ${id} < ? LIMIT ?`,
      params: [...params, ...this.bounds, limit],
    };
  }
}

function bytesOf(hex: string): Uint8Array {
  return Buffer.from(hex, 'hex');
}

/** Returns the smallest id of a time. */
function firstId(at: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(Math.min(lastMoment, Math.max(firstMoment, Math.floor(at))), 0, 6);
  return bytes;
}
