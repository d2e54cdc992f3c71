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
  createSpan,
  isIn,
  type Partition,
  partitionSource,
  type Source,
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
/** The column of each sort by a value, and the index of that column. */
const valued: Partial<Record<string, readonly [column: Valued, index: string]>> = {
  startedAt: ['started_at', 'task_started'],
  endedAt: ['ended_at', 'task_ended'],
  duration: ['duration', 'task_duration'],
};

/** A task of a list before its summary is read. */
export interface Candidate {
  rowid: number;
  /** Upper-case hexadecimal digits. */
  id: string;
  value: number | null;
}

const candidate = packing<Candidate>({ rowid: 'rowid', id: 'hex(id)', value: 'value' });

/** Index scans, and the residual filter: the conditions that none of them answers. */
export interface Scans {
  sources: readonly Source[];
  rest: readonly Condition[];
}

/** The scans of one group of a list. */
interface Group extends Scans {
  /** The name or the state of the group, if the list is sorted by it. */
  key: string;
}

/** The number of tasks of a partition in a state. */
interface Live {
  state: TaskStatus;
  partition: number;
  n: number;
}

/** The index scans of a query. */
export type ListPlan = ReturnType<typeof planList>;

/** Decides which indexes answer a query, and which conditions are left for the residual filter. */
export function planList(database: Database, query: TaskQuery) {
  const { name, queue, status, tags = [], fingerprint, schedule, text } = query;
  const descending = query.order !== 'ascending';
  const span = createSpan(database, descending, query);
  let counts: readonly Live[] | undefined;
  let found: readonly Source[] | undefined;

  const partitionsOf = (wanted: Pick<TaskQuery, 'name' | 'queue'>): Partition[] =>
    database.all(
      `SELECT id, name FROM partition WHERE (?1 IS NULL OR name = ?1) AND (?2 IS NULL
          OR queue = ?2)`,
      wanted.name ?? null,
      wanted.queue ?? null,
    );
  /** The partitions that the query selects; `undefined` if it does not filter by name or queue. */
  const partitions = name === undefined && queue === undefined ? undefined : partitionsOf(query);

  /** Returns the number of tasks by partition and state. Reads it once. */
  const taskCounts = (): readonly Live[] => {
    counts ??= database
      .all<Omit<Live, 'state'> & { state: number }>(
        'SELECT status AS state, partition, n FROM task_count WHERE n > 0',
      )
      .map((row) => ({ ...row, state: stateOf(row.state) }));
    return counts;
  };

  /**
   * Returns the conditions of the query as SQL on a candidate, except the one on the column
   * `answered`.
   */
  const conditions = (
    states: readonly TaskStatus[] | undefined,
    among: readonly Partition[] | undefined,
    answered?: string,
  ): Condition[] => {
    const accepted = {
      status: states?.map((each) => stateCode[each]),
      partition: among?.map(({ id }) => id),
      fingerprint: fingerprint === undefined ? undefined : [fingerprint],
      schedule: schedule === undefined ? undefined : [schedule],
    };
    return Object.entries(accepted).flatMap(([column, values]) =>
      values && column !== answered ? isIn(column, values) : [],
    );
  };

  /**
   * Returns scans in the order of ids. The most selective condition decides which index they use.
   */
  const byId = (
    states: readonly TaskStatus[] | undefined,
    among: readonly Partition[] | undefined,
  ): Scans => {
    const ofTags = tags.map(tagCondition);
    if (text !== undefined)
      return { sources: textSources(text), rest: [...conditions(states, among), ...ofTags] };
    for (const [column, value] of Object.entries({ fingerprint, schedule }))
      if (value !== undefined)
        return {
          sources: [scan(`task_${column}`, `${column} = ? AND ${column} IS NOT NULL`, value)],
          rest: [...conditions(states, among, column), ...ofTags],
        };
    const [tag] = tags;
    if (tag)
      return {
        sources: [countedTag(database, tag)],
        rest: [...conditions(states, among), ...ofTags.slice(1)],
      };
    const all = states ?? taskStatuses;
    if (among && among.length * all.length <= 60)
      return { sources: all.flatMap((state) => partitionsIn(state, among)), rest: [] };
    if (states || among)
      return {
        sources: all
          .filter((state) => taskCounts().some((each) => each.state === state))
          .map(statusSource),
        rest: conditions(undefined, among),
      };
    return { sources: [{ from: 'task', where: 'TRUE', params: [] }], rest: [] };
  };

  /** Returns the scans of the partitions that have tasks in the state. */
  const partitionsIn = (state: TaskStatus, among: readonly Partition[]): Source[] => {
    const full = new Set(
      taskCounts().flatMap((each) => (each.state === state ? each.partition : [])),
    );
    return among.filter(({ id }) => full.has(id)).map(({ id }) => partitionSource(state, id));
  };

  /** Returns scans in the order of a value. Tasks without the value follow in the order of ids. */
  const byValue = (value: Valued, index: string): Group[] => {
    const rest = [...conditions(undefined, partitions), ...tags.map(tagCondition)];
    if (span.bounded) rest.push({ sql: 'id >= ? AND id < ?', params: span.bounds });
    if (text !== undefined) rest.push(isIn('rowid', newestMatches(text)));
    const withValue: Source[] = [];
    const without: Source[] = [];
    for (const state of status ?? taskStatuses) {
      const inState = `status = ${stateCode[state]}`;
      if (isEnded(state)) {
        const ended = `${inState} AND ${hasEnded} AND ${value}`;
        withValue.push({ ...scan(index, `${ended} IS NOT NULL`), value });
        without.push(scan(index, `${ended} IS NULL`));
      } else if (value === 'started_at') {
        const started = state === 'pending' ? 'task_retrying' : 'task_running';
        withValue.push({ ...scan(started, `${inState} AND started_at IS NOT NULL`), value });
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
  };

  /** Returns the row ids of the newest tasks that a search finds. */
  const newestMatches = (words: string): number[] =>
    textSources(words).flatMap((source) =>
      readCandidates(database, span.select(source, undefined, window)).map(({ rowid }) => rowid),
    );

  /** Returns the scans that find a text. The page and its total share them. */
  const textSources = (searched: string): readonly Source[] => {
    found ??= searchSources(database, searched, (words) => {
      const named = partitionsOf({})
        .filter((each) => words.every((word) => each.name.toLowerCase().includes(word)))
        .slice(0, maxPartitions);
      return taskStatuses.flatMap((state) => partitionsIn(state, named));
    });
    return found;
  };

  /** Returns the partitions grouped by name. */
  const byName = (): [string, Partition[]][] => {
    const groups = new Map<string, Partition[]>();
    for (const partition of partitions ?? partitionsOf({}))
      groups.set(partition.name, [...(groups.get(partition.name) ?? []), partition]);
    return [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
  };

  return {
    ...{ database, query, descending, span, partitions, taskCounts },

    /** Returns the groups of the sort, in order. */
    groups(): Group[] {
      const { sort = 'createdAt' } = query;
      const value = valued[sort];
      if (value) return byValue(...value);
      if (sort !== 'status' && sort !== 'name') return [{ key: '', ...byId(status, partitions) }];
      const groups =
        sort === 'status'
          ? taskStatuses
              .filter((each) => !status || status.includes(each))
              .map((key) => ({ key, ...byId([key], partitions) }))
          : byName().map(([key, among]) => ({ key, ...byId(status, among) }));
      return descending ? groups.reverse() : groups;
    },

    /** Returns the scans of the whole list, in the order of ids. */
    sources: () => byId(status, partitions),
  };
}

/** Reads candidates as one JSON text. */
export function readCandidates(database: Database, { sql, params }: Condition): Candidate[] {
  const found = database.value<string>(
    `SELECT json_group_array(${candidate.sql}) FROM (${sql})`,
    ...params,
  );
  return candidate.parseList(found);
}
