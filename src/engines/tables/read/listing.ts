import type { TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine.js';
import { type TaskStatus, type TaskSummary, taskStatuses } from '../../../tasks/types.js';
import type { Database } from '../schema/database.js';
import { stateCode, stateOf, summariesOfSeqs, toSummaries } from '../schema/rows.js';
import { invalidPosition, type Position, readPosition, writePosition } from './position.js';
import { searchSources } from './search.js';
import {
  type Condition,
  countedTag,
  countedTo,
  type Lane,
  laneSource,
  paramsOf,
  type Source,
  Span,
  statusSource,
  tagCondition,
  type Valued,
  whereOf,
} from './sources.js';

/*
 * A list is made of streams: queries that each give (seq, id, value) from one index in the order asked for. They are merged,
 * and only the tasks of the page itself are read whole. Conditions that no index answers are applied to a window of
 * candidates, so that a page costs the same however rare what it looks for is: it may then be short, and has a next one.
 */

/** Candidates that one page looks at for conditions without an index of their own. */
const window = 5_000;
const uncounted = { total: 0, totalRelation: 'gte' } as const;
/** Names with the words of a search that are looked for, each in each of its queues. */
const mostLanes = 30;
const valued: Partial<Record<string, Valued>> = { startedAt: 'started_at', endedAt: 'ended_at', duration: 'duration' };
const valueIndex: Record<Valued, string> = { started_at: 'task_started', ended_at: 'task_ended', duration: 'task_duration' };

interface Candidate {
  seq: number;
  id: string;
  value: number | null;
}

/** Sources that are merged, with what none of them answers. */
interface Group {
  /** What the group is of, in a sort by name or state. */
  key: string;
  sources: readonly Source[];
  rest: readonly Condition[];
}

/** Answers one page of a list. */
export function listTasks(database: Database, query: TaskQuery): TaskPage {
  const { limit } = query;
  const listing = new Listing(database, query);
  const { found, next } = listing.page();
  const items = summariesOf(database, found.slice(0, limit));
  return { items, next, ...(query.counted === false ? uncounted : listing.total()) };
}

/** How many tasks a filter finds: beyond 10,000 a floor, but where they are kept count of. */
export function countTasks(database: Database, filter: TaskFilter): { n: number; more: boolean } {
  return new Listing(database, { ...filter, limit: 1 }).count();
}

/** The summaries of candidates, in their order: with one query for all of them. */
function summariesOf(database: Database, candidates: readonly Candidate[]): TaskSummary[] {
  const seqs = JSON.stringify(candidates.map(({ seq }) => seq));
  const bySeq = toSummaries(database.get(summariesOfSeqs, seqs));
  return candidates.flatMap(({ seq }) => bySeq.get(seq) ?? []);
}

class Listing {
  readonly #database: Database;
  readonly #query: TaskQuery;
  readonly #descending: boolean;
  readonly #span: Span;
  readonly #lanes: readonly Lane[] | undefined;
  #counts: readonly { state: TaskStatus; lane: number; n: number }[] | undefined;
  #found: readonly Source[] | undefined;

  constructor(database: Database, query: TaskQuery) {
    this.#database = database;
    this.#query = query;
    this.#descending = query.order !== 'ascending';
    this.#span = new Span(database, this.#descending, query.from, query.to);
    this.#lanes = query.name === undefined && query.queue === undefined ? undefined : this.#lanesOf(query);
  }

  #lanesOf({ name, queue }: TaskQuery): Lane[] {
    return this.#database
      .all('SELECT id, name FROM lane WHERE (?1 IS NULL OR name = ?1) AND (?2 IS NULL OR queue = ?2)', name ?? null, queue ?? null)
      .map((row) => ({ id: Number(row.id), name: String(row.name) }));
  }

  /** The candidates of a page and one more, and where the next page begins. */
  page(): { found: Candidate[]; next: string | null } {
    const { limit, after, sort = 'createdAt' } = this.#query;
    const start = after === undefined ? undefined : readPosition(after, sort);
    const groups = this.#groups();
    const first = start ? groups.findIndex(({ key }) => key === start.group) : 0;
    if (first === -1) throw invalidPosition();
    const found: Candidate[] = [];
    /** Group of the last one of this page. */
    let group: string | undefined;
    for (const { key, sources, rest } of groups.slice(first)) {
      const { rows, end } = this.#merge(sources, rest, limit + 1 - found.length, start?.group === key ? start : undefined);
      found.push(...rows);
      const last = found[limit - 1];
      if (last) group ??= key;
      if (found.length > limit && last) return { found, next: writePosition(sort, { ...last, group: group ?? key }) };
      if (end) return { found, next: writePosition(sort, { ...end, group: key }) };
    }
    return { found, next: null };
  }

  /** How many there are, up to 10,000. */
  total(): Pick<TaskPage, 'total' | 'totalRelation'> {
    const { n, more } = this.count();
    return { total: Math.min(n, countedTo), totalRelation: more || n > countedTo ? 'gte' : 'eq' };
  }

  /** How many there are, as far as that is soon said; `more` where it may be more. */
  count(): { n: number; more: boolean } {
    const { tags = [], fingerprint, schedule, text, from, to } = this.#query;
    const simple = tags.length === 0 && schedule === undefined && text === undefined && from === undefined && to === undefined;
    if (simple && fingerprint === undefined) return { n: this.#tallied(), more: false };
    if (simple && fingerprint !== undefined && !this.#lanes) return { n: this.#ofKind(fingerprint), more: false };
    const { n, more } = this.#counted();
    return { n, more: more || n > countedTo };
  }

  #tallied(): number {
    const { status } = this.#query;
    const lanes = this.#lanes && new Set(this.#lanes.map(({ id }) => id));
    let total = 0;
    for (const { state, lane, n } of this.#tally()) if ((!status || status.includes(state)) && (!lanes || lanes.has(lane))) total += n;
    return total;
  }

  #ofKind(fingerprint: string): number {
    const states = (this.#query.status ?? taskStatuses).map((each) => stateCode[each]);
    const row = this.#database.get(
      'SELECT sum(n) AS n FROM kind_tally WHERE fingerprint = ? AND status IN (SELECT value FROM json_each(?))',
      fingerprint,
      JSON.stringify(states),
    );
    return Number(row?.n);
  }

  /** How many tasks of each lane are in each state; read once. */
  #tally(): readonly { state: TaskStatus; lane: number; n: number }[] {
    this.#counts ??= this.#database
      .all('SELECT status, lane, n FROM tally WHERE n > 0')
      .map(({ status, lane, n }) => ({ state: stateOf(status), lane: Number(lane), n: Number(n) }));
    return this.#counts;
  }

  #counted(): { n: number; more: boolean } {
    const { sources, rest } = this.#byId(this.#query.status, this.#lanes);
    if (rest.length === 0) {
      // Each alone, which takes no numbers over to this thread; only what more than one has must be told apart.
      const counts = sources.map((source) => this.#countOf(source));
      const most = Math.max(0, ...counts);
      if (most > countedTo || counts.filter((n) => n > 0).length < 2) return { n: most, more: false };
    }
    const seen = new Set<number>();
    let more = false;
    for (const source of sources) {
      const inner = rest.length === 0 ? this.#span.numbers(source, countedTo + 1) : this.#span.select(source, undefined, countedTo + 1);
      const row = this.#database.get(
        `SELECT json_group_array(seq) AS found FROM (${inner.sql}) AS candidate ${whereOf(rest)}`,
        ...inner.params,
        ...paramsOf(rest),
      );
      const found = JSON.parse(String(row?.found)) as number[];
      for (const seq of found) seen.add(seq);
      if (rest.length > 0 && found.length <= countedTo) more ||= this.#reaches(source, countedTo + 1);
    }
    return { n: seen.size, more };
  }

  #countOf(source: Source): number {
    if (source.n !== undefined && !this.#span.bounded) return source.n;
    const { sql, params } = this.#span.numbers(source, countedTo + 1);
    return Number(this.#database.get(`SELECT count(*) AS n FROM (${sql})`, ...params)?.n);
  }

  /** Whether a source has so many rows. */
  #reaches(source: Source, rows: number): boolean {
    const { sql, params } = this.#span.select(source, undefined, rows);
    return Number(this.#database.get(`SELECT count(*) AS n FROM (${sql})`, ...params)?.n) === rows;
  }

  /** The groups of the sort, in order. */
  #groups(): Group[] {
    const { sort = 'createdAt', status } = this.#query;
    const value = valued[sort];
    if (value) return this.#byValue(value);
    if (sort === 'status') {
      const states = taskStatuses.filter((each) => !status || status.includes(each));
      return this.#turned(states.map((each) => ({ key: each, ...this.#byId([each], this.#lanes) })));
    }
    if (sort === 'name') return this.#turned(this.#names().map(([key, lanes]) => ({ key, ...this.#byId(status, lanes) })));
    return [{ key: '', ...this.#byId(status, this.#lanes) }];
  }

  #turned(groups: Group[]): Group[] {
    return this.#descending ? groups.reverse() : groups;
  }

  /** Lanes by name. */
  #names(): [string, Lane[]][] {
    const byName = new Map<string, Lane[]>();
    const lanes = this.#lanes ?? this.#lanesOf({ limit: 0 });
    for (const lane of lanes) byName.set(lane.name, [...(byName.get(lane.name) ?? []), lane]);
    return [...byName.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Sources in the order of ids, of which the most telling condition decides. */
  #byId(status: readonly TaskStatus[] | undefined, lanes: readonly Lane[] | undefined): Omit<Group, 'key'> {
    const { tags = [], fingerprint, schedule, text } = this.#query;
    const conditions = this.#conditions(status, lanes);
    const without = (...names: (keyof typeof conditions)[]): Condition[] =>
      Object.entries(conditions).flatMap(([name, each]) => (names.includes(name as keyof typeof conditions) ? [] : each));
    if (text !== undefined) return { sources: this.#textSources(text), rest: without() };
    if (fingerprint !== undefined)
      return {
        sources: [
          { from: 'task INDEXED BY task_fingerprint', where: 'fingerprint = ? AND fingerprint IS NOT NULL', params: [fingerprint] },
        ],
        rest: without('fingerprint'),
      };
    if (schedule !== undefined)
      return {
        sources: [{ from: 'task INDEXED BY task_schedule', where: 'schedule = ? AND schedule IS NOT NULL', params: [schedule] }],
        rest: without('schedule'),
      };
    const [tag] = tags;
    if (tag) return { sources: [countedTag(this.#database, tag)], rest: [...without('tags'), ...tags.slice(1).map(tagCondition)] };
    const states = status ?? taskStatuses;
    if (lanes && lanes.length * states.length <= 60) return { sources: states.flatMap((state) => this.#lanesIn(state, lanes)), rest: [] };
    if (status || lanes)
      return {
        sources: states.filter((state) => this.#tally().some((each) => each.state === state)).map(statusSource),
        rest: without('status'),
      };
    return { sources: [{ from: 'task', where: 'TRUE', params: [] }], rest: [] };
  }

  /** Those of the lanes that have tasks in the state. */
  #lanesIn(state: TaskStatus, lanes: readonly Lane[]): Source[] {
    const full = new Set(this.#tally().flatMap((each) => (each.state === state ? [each.lane] : [])));
    return lanes.filter(({ id }) => full.has(id)).map((lane) => laneSource(state, lane));
  }

  /** Every condition of the query, as SQL on a task. */
  #conditions(
    status: readonly TaskStatus[] | undefined,
    lanes: readonly Lane[] | undefined,
  ): Record<'status' | 'lanes' | 'tags' | 'fingerprint' | 'schedule', Condition[]> {
    const { tags = [], fingerprint, schedule } = this.#query;
    return {
      status: status ? [{ sql: `status IN (${status.map(() => '?').join(', ')})`, params: status.map((each) => stateCode[each]) }] : [],
      lanes: lanes ? [{ sql: 'lane IN (SELECT value FROM json_each(?))', params: [JSON.stringify(lanes.map(({ id }) => id))] }] : [],
      tags: tags.map(tagCondition),
      fingerprint: fingerprint === undefined ? [] : [{ sql: 'fingerprint = ?', params: [fingerprint] }],
      schedule: schedule === undefined ? [] : [{ sql: 'schedule = ?', params: [schedule] }],
    };
  }

  /** Sources in the order of a value; what has none follows, by id. */
  #byValue(value: Valued): Group[] {
    const { status, from, to, text } = this.#query;
    const conditions = this.#conditions(undefined, this.#lanes);
    const rest = Object.values(conditions).flat();
    if (from !== undefined || to !== undefined) rest.push({ sql: 'id >= ? AND id < ?', params: this.#span.bounds });
    if (text !== undefined)
      rest.push({ sql: 'seq IN (SELECT value FROM json_each(?))', params: [JSON.stringify(this.#newestMatches(text))] });
    const states = (status ?? taskStatuses).map((each) => stateCode[each]);
    const withValue: Source[] = [];
    const without: Source[] = [];
    for (const state of states) {
      if (state > 1) {
        withValue.push({
          from: `task INDEXED BY ${valueIndex[value]}`,
          where: `status = ${state} AND status > 1 AND ${value} IS NOT NULL`,
          params: [],
          value,
        });
        without.push({
          from: `task INDEXED BY ${valueIndex[value]}`,
          where: `status = ${state} AND status > 1 AND ${value} IS NULL`,
          params: [],
        });
      } else if (value === 'started_at') {
        withValue.push({
          from: `task INDEXED BY ${state === 0 ? 'task_retrying' : 'task_running'}`,
          where: `status = ${state} AND started_at IS NOT NULL`,
          params: [],
          value,
        });
        if (state === 0)
          without.push({ from: 'task INDEXED BY task_status', where: 'status = 0 AND status <> 1 AND started_at IS NULL', params: [] });
      } else {
        without.push(statusSource(state === 0 ? 'pending' : 'running'));
      }
    }
    return [
      { key: 'with', sources: withValue, rest },
      { key: 'without', sources: without, rest },
    ];
  }

  /** The numbers of the newest tasks that a search finds. */
  #newestMatches(text: string): number[] {
    return this.#textSources(text).flatMap((source) => this.#take(this.#span.select(source, undefined, window)).map(({ seq }) => seq));
  }

  /** Where a text may be found, for the page and for its total. */
  #textSources(text: string): readonly Source[] {
    this.#found ??= searchSources(this.#database, text, (words) => {
      const named = this.#lanesOf({ limit: 0 }).filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
      return taskStatuses.flatMap((state) => this.#lanesIn(state, named.slice(0, mostLanes)));
    });
    return this.#found;
  }

  /** The first rows of all sources in order. `end` is where the looking stopped, if not at the end of the list. */
  #merge(
    sources: readonly Source[],
    rest: readonly Condition[],
    wanted: number,
    after: Position | undefined,
  ): { rows: Candidate[]; end: Candidate | undefined } {
    if (rest.length === 0 && this.#query.text === undefined) return { rows: this.#takeMerged(sources, wanted, after), end: undefined };
    let end: Candidate | undefined;
    const rows: Candidate[] = [];
    for (const source of sources) {
      const taken = rest.length === 0 ? this.#take(this.#span.select(source, after, wanted)) : this.#takeSome(source, rest, wanted, after);
      rows.push(...('rows' in taken ? taken.rows : taken));
      if ('end' in taken && taken.end && (!end || this.#compare(taken.end, end) < 0)) end = taken.end;
    }
    rows.sort((a, b) => this.#compare(a, b));
    const once = sources.length === 1 ? rows : rows.filter((row, index) => row.seq !== rows[index - 1]?.seq);
    // Beyond where one source was left, others may have what belongs before it.
    const certain = end ? once.filter((row) => this.#compare(row, end as Candidate) <= 0) : once;
    return { rows: certain.slice(0, wanted), end };
  }

  /** Of sources that have no task in common, by one statement: SQLite merges them sooner than this thread does. */
  #takeMerged(sources: readonly Source[], wanted: number, after: Position | undefined): Candidate[] {
    const [first] = sources;
    if (!first) return [];
    if (sources.length === 1) return this.#take(this.#span.select(first, after, wanted));
    return this.#take(this.#span.selectMerged(sources, after, wanted));
  }

  #takeSome(
    source: Source,
    rest: readonly Condition[],
    wanted: number,
    after: Position | undefined,
  ): { rows: Candidate[]; end: Candidate | undefined } {
    const inner = this.#span.select(source, after, window);
    const rows = this.#take({
      sql: `SELECT seq, id, value FROM (${inner.sql}) AS candidate ${whereOf(rest)} LIMIT ?`,
      params: [...inner.params, ...paramsOf(rest), wanted],
    });
    if (rows.length >= wanted) return { rows, end: undefined };
    const [last] = this.#take({ sql: `${inner.sql} OFFSET ${window - 1}`, params: [...inner.params.slice(0, -1), 1] });
    return { rows, end: last };
  }

  /** As one text, which the driver gives sooner than as many values. */
  #take({ sql, params }: Condition): Candidate[] {
    const row = this.#database.get(`SELECT json_group_array(json_array(seq, hex(id), value)) AS found FROM (${sql})`, ...params);
    return (JSON.parse(String(row?.found)) as [number, string, number | null][]).map(([seq, id, value]) => ({ seq, id, value }));
  }

  #compare(a: Candidate, b: Candidate): number {
    const order = (a.value ?? 0) - (b.value ?? 0) || (a.id < b.id ? -1 : Number(a.id > b.id));
    return this.#descending ? -order : order;
  }
}
