import type {
  Coverage,
  FailureGroup,
  LogLevel,
  Metrics,
  ProcessInfo,
  StatsSnapshot,
  TaskStatus,
  TaskSummary,
} from './types.js';

/** The fields by which a list can be sorted. */
export type SortKey = 'createdAt' | 'startedAt' | 'endedAt' | 'duration' | 'name' | 'status';

/**
 * Selects the tasks of a list, in the form that an engine takes. A task must meet every condition.
 */
export interface TaskQuery {
  /** Tasks in any of these states. Default: all states. */
  status?: readonly TaskStatus[] | undefined;
  name?: string | undefined;
  queue?: string | undefined;
  /** Tags that the task must have. A tag without a value matches any value. */
  tags?: readonly { key: string; value?: string | undefined }[] | undefined;
  fingerprint?: string | undefined;
  /** Name of the schedule that created the task. */
  schedule?: string | undefined;
  /**
   * Finds tasks by words, by a whole tag, or by the beginning of their id. The words may be in the
   * name, in a tag or in a failure (name, error, tags). Only the first 20 words and 30 names are
   * used.
   */
  text?: string | undefined;
  /** Created at this time or later; Unix milliseconds. */
  from?: number | undefined;
  /** Created before this time; Unix milliseconds. */
  to?: number | undefined;
  /**
   * Default `createdAt`. Tasks without a value come last. Tasks with equal values are sorted by id.
   */
  sort?: SortKey | undefined;
  /** Default `descending`. */
  order?: 'ascending' | 'descending' | undefined;
  limit: number;
  /** The `next` of the previous page. */
  after?: string | undefined;
  /** If `false`, nothing is counted. For callers that read every page. */
  counted?: boolean | undefined;
}

/** Selects the tasks of a command: the conditions of a list, without its order. */
export type TaskFilter = Omit<TaskQuery, 'sort' | 'order' | 'limit' | 'after' | 'counted'>;

/** One page of a list. */
export interface TaskPage {
  items: readonly TaskSummary[];
  /**
   * The cursor of the next page, or null on the last page. A page may hold fewer items than
   * requested, or none, and still have a next page: rare combinations of conditions are searched in
   * steps, so that each call is short.
   */
  next: string | null;
  /** Exact up to 10,000. */
  total: number;
  /** `gte` above 10,000, if counting would take too long, or if nothing was counted. */
  totalRelation: 'eq' | 'gte';
  /** Set if the list covers only the newest tasks. Older matching tasks may be on no page. */
  limited?: true;
  /** How many tasks a limited list covers. */
  searched?: number;
}

/** Selects lines of a log. */
export interface LogQuery {
  /** Lines after this number. */
  after?: number | undefined;
  /**
   * The last `limit` lines before this number, instead of the first ones after a number.
   */
  before?: number | undefined;
  /** Lines of this attempt, and lines whose attempt is unknown. */
  attempt?: number | undefined;
  /** Lines of this level or a more severe one. */
  level?: LogLevel | undefined;
  /** Lines whose message or fields contain this text. ASCII letters match in any case. */
  text?: string | undefined;
  limit?: number | undefined;
}

/** The time range of statistics. */
export interface MetricsRange {
  /** Unix milliseconds. Default: all time. */
  from?: number | undefined;
  to?: number | undefined;
  /** Seconds per point of the series. */
  step?: number | undefined;
  /** Whether to include the series. Default `true`. With `false`, the series is empty. */
  series?: boolean | undefined;
}

/** Selects failure groups. The group that was seen last comes first. */
export interface FailureQuery {
  /** Only groups of this function. */
  name?: string | undefined;
  /** Only groups that were seen at this time or later; Unix milliseconds. */
  from?: number | undefined;
  limit: number;
  /** The `next` of the previous page. */
  after?: string | undefined;
}

/** One page of failure groups. */
export interface FailurePage extends Coverage {
  items: readonly FailureGroup[];
  next: string | null;
}

/** The aggregates over tasks: the arguments and the answer of each. */
export interface Aggregates {
  statsSnapshot: { query: []; answer: StatsSnapshot };
  metrics: { query: [range: MetricsRange]; answer: Metrics };
  failures: { query: [query: FailureQuery]; answer: FailurePage };
  workers: { query: []; answer: readonly ProcessInfo[] };
  /** For each queue with ready tasks: since when the oldest of them has been ready. */
  waits: { query: []; answer: readonly { queue: string; since: string }[] };
  /** The durations of all ended attempts, by function. */
  histograms: { query: [bounds: readonly number[]]; answer: readonly DurationHistogram[] };
}

/** The durations of the attempts of a function. */
export interface DurationHistogram {
  /** The function. */
  name: string;
  /**
   * For each requested bound in seconds: the number of attempts that took at most that long, within
   * 4.5 %.
   */
  counts: readonly number[];
  /** The number of attempts. */
  count: number;
  /** The sum of their durations in seconds. */
  sum: number;
}
