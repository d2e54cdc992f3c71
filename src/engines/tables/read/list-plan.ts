import type { TaskQuery } from '../../../tasks/engine-queries.js';
import { isEnded } from '../../../tasks/states.js';
import { type TaskStatus, taskStatuses } from '../../../tasks/types.js';
import type { Database } from '../schema/database.js';
import { packing } from '../schema/packing.js';
import { hasEnded, isNotRunning, stateCode, stateOf } from '../schema/states.js';
import { searchSources } from './search.js';
import {
  type Condition,
  countedTag,
  type Partition,
  partitionSource,
  type Source,
  Span,
  scan,
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
  /** Upper-case hexadecimal digits. */
  id: string;
  value: number | null;
}

const candidate = packing<Candidate>({ rowid: 'rowid', id: 'hex(id)', value: 'value' });

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
    return this.#database.all<Partition>(
      `SELECT id, name FROM partition WHERE (?1 IS NULL OR name = ?1) AND (?2 IS NULL
          OR queue = ?2)`,
      name ?? null,
      queue ?? null,
    );
  }

  /** Returns the number of tasks by partition and state. Reads it once. */
  taskCounts(): readonly Live[] {
    this.#counts ??= this.#database
      .all<Omit<Live, 'state'> & { state: number }>(
        'SELECT status AS state, partition, n FROM task_count WHERE n > 0',
      )
      .map((row) => ({ ...row, state: stateOf(row.state) }));
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
    const without = (...names: string[]): Condition[] =>
      Object.entries(conditions).flatMap(([name, each]) => (names.includes(name) ? [] : each));
    if (text !== undefined) return { sources: this.#textSources(text), rest: without() };
    for (const [column, value] of Object.entries({ fingerprint, schedule }))
      if (value !== undefined)
        return {
          sources: [scan(`task_${column}`, `${column} = ? AND ${column} IS NOT NULL`, value)],
          rest: without(column),
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
      const inState = `status = ${stateCode[state]}`;
      if (isEnded(state)) {
        const ended = `${inState} AND ${hasEnded} AND ${value}`;
        withValue.push({ ...scan(valueIndex[value], `${ended} IS NOT NULL`), value });
        without.push(scan(valueIndex[value], `${ended} IS NULL`));
      } else if (value === 'started_at') {
        const index = state === 'pending' ? 'task_retrying' : 'task_running';
        withValue.push({ ...scan(index, `${inState} AND started_at IS NOT NULL`), value });
        if (state === 'pending')
          without.push(
            scan('task_status', `${inState} AND ${isNotRunning} AND started_at IS NULL`),
          );
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

/** Reads candidates as one JSON text. */
export function readCandidates(database: Database, { sql, params }: Condition): Candidate[] {
  const found = database.value<string>(
    `SELECT json_group_array(${candidate.sql}) FROM (${sql})`,
    ...params,
  );
  return candidate.parseList(found);
}
