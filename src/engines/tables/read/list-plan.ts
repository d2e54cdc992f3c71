import type { TaskQuery } from '../../../tasks/engine-queries.js';
import { isEnded } from '../../../tasks/states.js';
import { type TaskStatus, taskStatuses } from '../../../tasks/types.js';
import type { Database } from '../schema/database.js';
import { hasEnded, isNotRunning, stateCode, stateOf } from '../schema/states.js';
import { searchSources } from './search.js';
import {
  type Condition,
  countedTag,
  type Partition,
  partitionSource,
  type Source,
  Span,
  statusSource,
  tagCondition,
  type Valued,
} from './sources.js';

/**
 * The scan limit: maximum number of candidates that one page checks against the residual filter.
 */
export const window = 5_000;
/** Maximum number of partitions that a search reads because their names contain its words. */
const maxPartitions = 30;
const valued: Partial<Record<string, Valued>> = {
  startedAt: 'started_at',
  endedAt: 'ended_at',
  duration: 'duration',
};
const valueIndex: Record<Valued, string> = {
  started_at: 'task_started',
  ended_at: 'task_ended',
  duration: 'task_duration',
};

/** A task of a list before its summary is read. */
export interface Candidate {
  rowid: number;
  id: string;
  value: number | null;
}

/**
 * The index scans of one group, and the residual filter: the conditions that none of them answers.
 */
export interface Group {
  /** The name or the state of the group, if the list is sorted by it. */
  key: string;
  sources: readonly Source[];
  rest: readonly Condition[];
}

/** The number of tasks of a partition in a state. */
interface Live {
  state: TaskStatus;
  partition: number;
  n: number;
}

/** Decides which indexes answer a query, and which conditions are left for the residual filter. */
export class ListPlan {
  readonly descending: boolean;
  readonly span: Span;
  /** The partitions that the query selects; `undefined` if it does not filter by name or queue. */
  readonly partitions: readonly Partition[] | undefined;
  readonly #database: Database;
  readonly #query: TaskQuery;
  #counts: readonly Live[] | undefined;
  #found: readonly Source[] | undefined;

  constructor(database: Database, query: TaskQuery) {
    this.#database = database;
    this.#query = query;
    this.descending = query.order !== 'ascending';
    this.span = new Span(database, this.descending, query.from, query.to);
    this.partitions =
      query.name === undefined && query.queue === undefined ? undefined : this.#partitionsOf(query);
  }

  #partitionsOf({ name, queue }: TaskQuery): Partition[] {
    return this.#database
      .all(
        `SELECT id, name FROM partition WHERE (?1 IS NULL OR name = ?1) AND (?2 IS NULL
          OR queue = ?2)`,
        name ?? null,
        queue ?? null,
      )
      .map((row) => ({ id: Number(row.id), name: String(row.name) }));
  }

  /** Returns the number of tasks by partition and state. Reads it once. */
  taskCounts(): readonly Live[] {
    this.#counts ??= this.#database
      .all('SELECT status, partition, n FROM task_count WHERE n > 0')
      .map(({ status, partition, n }) => ({
        state: stateOf(status),
        partition: Number(partition),
        n: Number(n),
      }));
    return this.#counts;
  }

  /** Returns the groups of the sort, in order. */
  groups(): Group[] {
    const { sort = 'createdAt', status } = this.#query;
    const value = valued[sort];
    if (value) return this.#byValue(value);
    if (sort === 'status') {
      const states = taskStatuses.filter((each) => !status || status.includes(each));
      return this.#turned(
        states.map((each) => ({ key: each, ...this.#byId([each], this.partitions) })),
      );
    }
    if (sort === 'name')
      return this.#turned(
        this.#names().map(([key, partitions]) => ({ key, ...this.#byId(status, partitions) })),
      );
    return [{ key: '', ...this.#byId(status, this.partitions) }];
  }

  #turned(groups: Group[]): Group[] {
    return this.descending ? groups.reverse() : groups;
  }

  /** Returns the partitions grouped by name. */
  #names(): [string, Partition[]][] {
    const byName = new Map<string, Partition[]>();
    const partitions = this.partitions ?? this.#partitionsOf({ limit: 0 });
    for (const partition of partitions)
      byName.set(partition.name, [...(byName.get(partition.name) ?? []), partition]);
    return [...byName.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Returns the scans of the whole list, in the order of ids. */
  sources(): Omit<Group, 'key'> {
    return this.#byId(this.#query.status, this.partitions);
  }

  /**
   * Returns scans in the order of ids. The most selective condition decides which index they use.
   */
  #byId(
    status: readonly TaskStatus[] | undefined,
    partitions: readonly Partition[] | undefined,
  ): Omit<Group, 'key'> {
    const { tags = [], fingerprint, schedule, text } = this.#query;
    const conditions = this.#conditions(status, partitions);
    const without = (...names: (keyof typeof conditions)[]): Condition[] =>
      Object.entries(conditions).flatMap(([name, each]) =>
        names.includes(name as keyof typeof conditions) ? [] : each,
      );
    if (text !== undefined) return { sources: this.#textSources(text), rest: without() };
    if (fingerprint !== undefined)
      return {
        sources: [
          {
            from: 'task INDEXED BY task_fingerprint',
            where: 'fingerprint = ? AND fingerprint IS NOT NULL',
            params: [fingerprint],
          },
        ],
        rest: without('fingerprint'),
      };
    if (schedule !== undefined)
      return {
        sources: [
          {
            from: 'task INDEXED BY task_schedule',
            where: 'schedule = ? AND schedule IS NOT NULL',
            params: [schedule],
          },
        ],
        rest: without('schedule'),
      };
    const [tag] = tags;
    if (tag)
      return {
        sources: [countedTag(this.#database, tag)],
        rest: [...without('tags'), ...tags.slice(1).map(tagCondition)],
      };
    const states = status ?? taskStatuses;
    if (partitions && partitions.length * states.length <= 60)
      return {
        sources: states.flatMap((state) => this.#partitionsIn(state, partitions)),
        rest: [],
      };
    if (status || partitions)
      return {
        sources: states
          .filter((state) => this.taskCounts().some((each) => each.state === state))
          .map(statusSource),
        rest: without('status'),
      };
    return { sources: [{ from: 'task', where: 'TRUE', params: [] }], rest: [] };
  }

  /** Returns the scans of the partitions that have tasks in the state. */
  #partitionsIn(state: TaskStatus, partitions: readonly Partition[]): Source[] {
    const full = new Set(
      this.taskCounts().flatMap((each) => (each.state === state ? [each.partition] : [])),
    );
    return partitions
      .filter(({ id }) => full.has(id))
      .map((partition) => partitionSource(state, partition));
  }

  /** Returns every condition of the query as SQL on a candidate. */
  #conditions(
    status: readonly TaskStatus[] | undefined,
    partitions: readonly Partition[] | undefined,
  ): Record<'status' | 'partitions' | 'tags' | 'fingerprint' | 'schedule', Condition[]> {
    const { tags = [], fingerprint, schedule } = this.#query;
    return {
      status: status
        ? [
            {
              sql: `status IN (${status.map(() => '?').join(', ')})`,
              params: status.map((each) => stateCode[each]),
            },
          ]
        : [],
      partitions: partitions
        ? [
            {
              sql: 'partition IN (SELECT value FROM json_each(?))',
              params: [JSON.stringify(partitions.map(({ id }) => id))],
            },
          ]
        : [],
      tags: tags.map(tagCondition),
      fingerprint:
        fingerprint === undefined ? [] : [{ sql: 'fingerprint = ?', params: [fingerprint] }],
      schedule: schedule === undefined ? [] : [{ sql: 'schedule = ?', params: [schedule] }],
    };
  }

  /** Returns scans in the order of a value. Tasks without the value follow in the order of ids. */
  #byValue(value: Valued): Group[] {
    const { status, from, to, text } = this.#query;
    const conditions = this.#conditions(undefined, this.partitions);
    const rest = Object.values(conditions).flat();
    if (from !== undefined || to !== undefined)
      rest.push({ sql: 'id >= ? AND id < ?', params: this.span.bounds });
    if (text !== undefined)
      rest.push({
        sql: 'rowid IN (SELECT value FROM json_each(?))',
        params: [JSON.stringify(this.#newestMatches(text))],
      });
    const withValue: Source[] = [];
    const without: Source[] = [];
    for (const state of status ?? taskStatuses) {
      const from = `task INDEXED BY ${valueIndex[value]}`;
      const inState = `status = ${stateCode[state]}`;
      if (isEnded(state)) {
        withValue.push({
          from,
          where: `${inState} AND ${hasEnded} AND ${value} IS NOT NULL`,
          params: [],
          value,
        });
        without.push({
          from,
          where: `${inState} AND ${hasEnded} AND ${value} IS NULL`,
          params: [],
        });
      } else if (value === 'started_at') {
        withValue.push({
          from: `task INDEXED BY ${state === 'pending' ? 'task_retrying' : 'task_running'}`,
          where: `${inState} AND started_at IS NOT NULL`,
          params: [],
          value,
        });
        if (state === 'pending')
          without.push({
            from: 'task INDEXED BY task_status',
            where: `${inState} AND ${isNotRunning} AND started_at IS NULL`,
            params: [],
          });
      } else {
        without.push(statusSource(state));
      }
    }
    return [
      { key: 'with', sources: withValue, rest },
      { key: 'without', sources: without, rest },
    ];
  }

  /** Returns the row ids of the newest tasks that a search finds. */
  #newestMatches(text: string): number[] {
    return this.#textSources(text).flatMap((source) =>
      readCandidates(this.#database, this.span.select(source, undefined, window)).map(
        ({ rowid }) => rowid,
      ),
    );
  }

  /** Returns the scans that find a text. The page and its total share them. */
  #textSources(text: string): readonly Source[] {
    this.#found ??= searchSources(this.#database, text, (words) => {
      const named = this.#partitionsOf({ limit: 0 }).filter(({ name }) =>
        words.every((word) => name.toLowerCase().includes(word)),
      );
      return taskStatuses.flatMap((state) =>
        this.#partitionsIn(state, named.slice(0, maxPartitions)),
      );
    });
    return this.#found;
  }
}

/**
 * Reads candidates as one JSON text, because the driver returns one text faster than many values.
 */
export function readCandidates(database: Database, { sql, params }: Condition): Candidate[] {
  const row = database.get(
    `SELECT json_group_array(json_array(rowid, hex(id), value)) AS found FROM (${sql})`,
    ...params,
  );
  return (JSON.parse(String(row?.found)) as [number, string, number | null][]).map(
    ([rowid, id, value]) => ({ rowid, id, value }),
  );
}
