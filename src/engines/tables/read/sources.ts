import type { TaskFilter } from '../../../tasks/engine-queries.js';
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
export function partitionSource(state: TaskStatus, id: number): Source {
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

/** Returns the condition on the table `tag` that selects a tag. */
function whereTag({ key, value }: Tag): Condition {
  return value === undefined
    ? { sql: 'tag.key = ?', params: [key] }
    : { sql: 'tag.key = ? AND tag.value = ?', params: [key, value] };
}

/**
 * Scans the tasks with a tag, with their number. If only the key is given, at most {@link
 * countedTo} + 1 values of the key are added up.
 */
export function countedTag(database: Database, tag: Tag): Source {
  const { sql: where, params } = whereTag(tag);
  const n = database.value<number | null>(
    `SELECT sum(n) FROM (SELECT n FROM tag_count AS tag WHERE ${where} LIMIT ?)`,
    ...params,
    countedTo + 1,
  );
  return { from: 'tag JOIN task ON task.id = tag.id', where, params, id: 'tag.id', n: n ?? 0 };
}

/** Returns the condition that a candidate has a tag. */
export function tagCondition(tag: Tag): Condition {
  const { sql, params } = whereTag(tag);
  return {
    sql: `EXISTS (SELECT 1 FROM tag WHERE ${sql} AND tag.id = candidate.id)`,
    params,
  };
}

/** Returns the condition that a column has one of some values. */
export function isIn(column: string, values: readonly (string | number)[]): Condition {
  return {
    sql: `${column} IN (SELECT value FROM json_each(?))`,
    params: [JSON.stringify(values)],
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

/**
 * Creates the key range of a list and its direction, which turns an index scan into SQL. The list
 * is limited to tasks created at or after `from` and before `to`, in Unix milliseconds.
 */
export function createSpan(
  database: Database,
  descending: boolean,
  { from = firstMoment, to = lastMoment }: Pick<TaskFilter, 'from' | 'to'>,
) {
  const bounds = [firstId(from), firstId(to)] as const;
  const bounded = from > firstMoment || to < lastMoment;
  const direction = descending ? 'DESC' : 'ASC';
  const compare = descending ? '<' : '>';

  const unordered = (
    { from, where, params, id = 'task.id', value }: Source,
    after: Position | undefined,
  ): Condition => {
    const [low, high] = bounds;
    const select =
      `SELECT task.rowid, ${id} AS id, ${value ?? 'NULL'} AS value, partition, status, ` +
      `fingerprint, schedule FROM ${from} WHERE ${where}`;
    if (value)
      return after
        ? {
            sql: `${select} AND (${value}, ${id}) ${compare} (?, ?)`,
            params: [...params, after.value, bytesOf(after.id)],
          }
        : { sql: select, params };
    const start = after && bytesOf(after.id);
    const [least, most] = descending ? [undefined, start] : [start, undefined];
    return {
      sql: `${select} AND ${id} ${least ? '>' : '>='} ? AND ${id} < ?`,
      params: [...params, least ?? low, most && Buffer.compare(most, high) < 0 ? most : high],
    };
  };

  /**
   * Returns the SQL that merges several scans that share no task. SQLite reads the rows of each in
   * index order, and no more than it needs.
   */
  const selectMerged = (
    sources: readonly Source[],
    after: Position | undefined,
    limit: number,
  ): Condition => {
    const parts = sources.map((source) => unordered(source, after));
    const order = sources[0]?.value ? `value ${direction}, id ${direction}` : `id ${direction}`;
    return {
      sql: `${parts.map(({ sql }) => sql).join(' UNION ALL ')} ORDER BY ${order} LIMIT ?`,
      params: [...paramsOf(parts), limit],
    };
  };

  /**
   * Scans the word index, which is in the order of row ids. That is nearly the order of ids, so
   * this reads a few more rows than requested and sorts them by id.
   */
  const selectMatches = (match: string, after: Position | undefined, limit: number): Condition => {
    const start = after && bytesOf(after.id);
    const nearest =
      start && database.value<number | undefined>('SELECT rowid FROM task WHERE id = ?', start);
    const first = descending ? Number.MAX_SAFE_INTEGER : 0;
    return {
      sql: `SELECT task.rowid, task.id AS id, NULL AS value, partition, status, fingerprint,
          schedule
        FROM (SELECT rowid FROM failure WHERE failure MATCH ? AND rowid ${compare} ?
          ORDER BY rowid ${direction} LIMIT ?) AS found
        JOIN task ON task.rowid = found.rowid WHERE task.id >= ?
          AND task.id < ? ${start ? `AND task.id ${compare} ?` : ''}
        ORDER BY task.id ${direction} LIMIT ?`,
      params: [
        match,
        nearest ? nearest + (descending ? disorder : -disorder) : first,
        limit + 2 * disorder,
        ...bounds,
        ...(start ? [start] : []),
        limit,
      ],
    };
  };

  return {
    bounds,
    bounded,
    selectMerged,

    /** Returns the SQL of one scan: its candidates in order, after a position. */
    select(source: Source, after: Position | undefined, limit: number): Condition {
      return source.match === undefined
        ? selectMerged([source], after, limit)
        : selectMatches(source.match, after, limit);
    },

    /**
     * Returns SQL for the row ids of a scan, without their order. It reads the tasks themselves
     * only if it has to.
     */
    numbers({ from, where, params, id = 'task.id', match }: Source, limit: number): Condition {
      if (match !== undefined)
        return bounded
          ? {
              sql: `SELECT task.rowid AS rowid FROM failure JOIN task ON task.rowid = failure.rowid
                WHERE failure MATCH ? AND task.id >= ? AND task.id < ? LIMIT ?`,
              params: [match, ...bounds, limit],
            }
          : {
              sql: 'SELECT rowid FROM failure WHERE failure MATCH ? LIMIT ?',
              params: [match, limit],
            };
      const [rowid, table] =
        id === 'task.id'
          ? ['task.rowid', from]
          : ['(SELECT rowid FROM task WHERE task.id = tag.id)', 'tag'];
      return {
        sql: `SELECT ${rowid} AS rowid FROM ${table}
          WHERE ${where} AND ${id} >= ? AND ${id} < ? LIMIT ?`,
        params: [...params, ...bounds, limit],
      };
    },
  };
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
