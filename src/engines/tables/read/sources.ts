import type { TaskStatus } from '../../../tasks/types.js';
import type { Database, SqlValue } from '../schema/database.js';
import { isNotRunning, stateCode } from '../schema/states.js';
import type { Position } from './position.js';

/** A column that a list can be sorted by before the id. */
export type Valued = 'started_at' | 'ended_at' | 'duration';

/** Rows of one index, `FROM` and `WHERE` without bounds. */
export interface Source {
  from: string;
  where: string;
  params: readonly SqlValue[];
  /** The column that has the id, in the order of the index. */
  id?: string;
  /** The column sorted by before the id. */
  value?: Valued;
  /** How many rows it has, where that is kept count of. */
  n?: number;
  /** Words to look for in the index of failures, instead of a condition. */
  match?: string;
}

/** SQL with its parameters. */
export interface Condition {
  sql: string;
  params: readonly SqlValue[];
}

/** A name together with a queue. */
export interface Partition {
  id: number;
  name: string;
}

/** What runs is never much, so it has no index of its own for each order. */
export function statusSource(state: TaskStatus): Source {
  if (state === 'running')
    return {
      from: 'task INDEXED BY task_running',
      where: `status = ${stateCode.running}`,
      params: [],
    };
  return {
    from: 'task INDEXED BY task_status',
    where: `status = ${stateCode[state]} AND ${isNotRunning}`,
    params: [],
  };
}

/** The tasks of a partition in a state. */
export function partitionSource(state: TaskStatus, { id }: Partition): Source {
  if (state === 'running')
    return {
      from: 'task INDEXED BY task_running',
      where: `status = ${stateCode.running} AND partition = ?`,
      params: [id],
    };
  return {
    from: 'task INDEXED BY task_partition',
    where: `partition = ? AND status = ${stateCode[state]} AND ${isNotRunning}`,
    params: [id],
  };
}

/** Totals are counted this far and no further. */
export const countedTo = 10_000;

/**
 * A tag, and how many tasks have it: of a key alone, whose values may be many, as far as that is
 * soon said.
 */
export function countedTag(
  database: Database,
  tag: { key: string; value?: string | undefined },
): Source {
  const { key, value } = tag;
  const row =
    value === undefined
      ? database.get(
          'SELECT sum(n) AS n FROM (SELECT n FROM tag_count WHERE key = ? LIMIT ?)',
          key,
          countedTo + 1,
        )
      : database.get('SELECT n FROM tag_count WHERE key = ? AND value = ?', key, value);
  return { ...tagSource(tag), n: Number(row?.n ?? 0) };
}

/** The tasks that have a tag. */
function tagSource({ key, value }: { key: string; value?: string | undefined }): Source {
  const from = 'tag JOIN task ON task.id = tag.id';
  if (value === undefined) return { from, where: 'tag.key = ?', params: [key], id: 'tag.id' };
  return { from, where: 'tag.key = ? AND tag.value = ?', params: [key, value], id: 'tag.id' };
}

/** The same, as a condition on a candidate. */
export function tagCondition({
  key,
  value,
}: {
  key: string;
  value?: string | undefined;
}): Condition {
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

/** Conditions that must all hold. */
export function whereOf(conditions: readonly Condition[]): string {
  return conditions.length === 0 ? '' : `WHERE ${conditions.map(({ sql }) => sql).join(' AND ')}`;
}

/** Their parameters. */
export function paramsOf(conditions: readonly Condition[]): SqlValue[] {
  return conditions.flatMap(({ params }) => [...params]);
}

/**
 * How many tasks may be stored between two whose ids are the other way round, as when a request
 * prepares one long before.
 */
const disorder = 100;

/** Unix milliseconds that an id can hold. */
const firstMoment = 0;
const lastMoment = 2 ** 48 - 1;

/** The stretch of ids that a list is of, and its direction: what turns a source into SQL. */
export class Span {
  readonly #database: Database;
  readonly #descending: boolean;
  readonly bounds: readonly [Uint8Array, Uint8Array];
  readonly bounded: boolean;

  /** Ids of tasks created from `from` on and before `to`, in Unix milliseconds. */
  constructor(database: Database, descending: boolean, from = firstMoment, to = lastMoment) {
    this.#database = database;
    this.#descending = descending;
    this.bounds = [firstId(from), firstId(to)];
    this.bounded = from > firstMoment || to < lastMoment;
  }

  /** SQL of one source: its candidates in order, from a position on. */
  select(source: Source, after: Position | undefined, limit: number): Condition {
    if (source.match !== undefined) return this.#selectMatches(source.match, after, limit);
    const { sql, params } = this.#unordered(source, after);
    return { sql: `${sql} ${this.#order(source)} LIMIT ?`, params: [...params, limit] };
  }

  /**
   * Of several sources, which have no task in common: SQLite takes rows of each by its index, and
   * no more than it needs.
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
      `task.seq, ${id} AS id, ${value ?? 'NULL'} AS value, partition, status, fingerprint, ` +
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
   * The word index goes by `seq`, in which tasks were stored: nearly the order of their ids, so a
   * few more than wanted are taken and put in order.
   */
  #selectMatches(match: string, after: Position | undefined, limit: number): Condition {
    const direction = this.#descending ? 'DESC' : 'ASC';
    const compare = this.#descending ? '<' : '>';
    const nearest =
      after && this.#database.get('SELECT seq FROM task WHERE id = ?', bytesOf(after.id))?.seq;
    const seq =
      typeof nearest === 'number'
        ? nearest + (this.#descending ? disorder : -disorder)
        : this.#descending
          ? Number.MAX_SAFE_INTEGER
          : 0;
    return {
      sql: `SELECT task.seq, task.id AS id, NULL AS value, partition, status, fingerprint, schedule
        FROM (SELECT rowid AS seq FROM failure WHERE failure MATCH ? AND rowid ${compare} ?
          ORDER BY rowid ${direction} LIMIT ?) AS found
        JOIN task ON task.seq = found.seq WHERE task.id >= ?
          AND task.id < ? ${after ? `AND task.id ${compare} ?` : ''}
        ORDER BY task.id ${direction} LIMIT ?`,
      params: [
        match,
        seq,
        limit + 2 * disorder,
        ...this.bounds,
        ...(after ? [bytesOf(after.id)] : []),
        limit,
      ],
    };
  }

  /** Something that is another for every task of a source, without reading the tasks. */
  numbers({ from, where, params, id = 'task.id', match }: Source, limit: number): Condition {
    if (match !== undefined) {
      if (!this.bounded)
        return {
          sql: 'SELECT rowid AS seq FROM failure WHERE failure MATCH ? LIMIT ?',
          params: [match, limit],
        };
      return {
        sql: `SELECT task.seq AS seq FROM failure JOIN task ON task.seq = failure.rowid
          WHERE failure MATCH ? AND task.id >= ? AND task.id < ? LIMIT ?`,
        params: [match, ...this.bounds, limit],
      };
    }
    const seq = id === 'task.id' ? 'task.seq' : '(SELECT seq FROM task WHERE task.id = tag.id)';
    const table = id === 'task.id' ? from : 'tag';
    return {
      sql: `SELECT ${seq} AS seq FROM ${table} WHERE ${where} AND ${id} >= ? AND ${id} < ? LIMIT ?`,
      params: [...params, ...this.bounds, limit],
    };
  }
}

function bytesOf(hex: string): Uint8Array {
  return Buffer.from(hex, 'hex');
}

/** The smallest id of a moment. */
function firstId(at: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(Math.min(lastMoment, Math.max(firstMoment, Math.floor(at))), 0, 6);
  return bytes;
}
