import type { z } from 'zod';
import type { CommandBy, Outcome } from './commands.js';
import type { EngineControl, EngineReader } from './engine.js';
import type { Aggregates as EngineAggregates, FailurePage, TaskPage } from './engine-queries.js';
import type { Definitions } from './function-settings.js';
import type * as Queries from './query-schemas.js';
import type { LogLine, TaskDetail } from './types.js';

type ReadOnly<T> = T extends readonly (infer U)[] ? readonly U[] : T;

/**
 * The argument type for a schema of `query-schemas.ts`. Lists may be read-only, and times may be
 * Dates.
 */
type Asked<S extends z.ZodType> = {
  readonly [K in keyof z.input<S>]: K extends 'from' | 'to'
    ? z.input<S>[K] | Date
    : ReadOnly<z.input<S>[K]>;
};

/** The argument type without `undefined` values, which a command refuses. */
type Defined<T> = { readonly [K in keyof T]: Exclude<T[K], undefined> };

/** Requires at least one member of an object. */
type AtLeastOne<T> = { [K in keyof T]-?: Required<Pick<T, K>> & Omit<T, K> }[keyof T];

/** The query of `find`: selects and sorts tasks. Its names are those of the HTTP API. */
export type FindQuery = Asked<typeof Queries.findQuery>;
/** The query of `logs`: selects lines of a log. */
export type LinesQuery = Asked<typeof Queries.linesQuery>;
/** The query of `get`: how much of a task is returned. */
export type DetailQuery = Asked<typeof Queries.detailQuery>;
/** The query of `aggregate('metrics')`: a time range. */
export type RangeQuery = Asked<typeof Queries.rangeQuery>;
/** The query of `aggregate('failures')`. The group that was seen last comes first. */
export type FailuresQuery = Asked<typeof Queries.failureQuery>;

/** The conditions that select tasks, as in `find`. */
export type TaskConditions = Defined<Omit<FindQuery, 'sort' | 'limit' | 'cursor' | 'counted'>>;

/** Selects the tasks of a command: at least one condition, or `'all'` for every task. */
export type CommandFilter = 'all' | AtLeastOne<TaskConditions>;

/**
 * The tasks of a command: either at most 10,000 ids, or a filter. With a filter, each call applies
 * to the oldest 10,000 matching tasks.
 */
export type Targets =
  | { readonly ids: readonly string[]; readonly filter?: never }
  | { readonly filter: CommandFilter; readonly ids?: never };

/**
 * A command. `retry` runs a task again that ended without success. `rerun` creates a new task from
 * any ended one. `run` starts a pending task or a schedule now.
 */
export type Command =
  | ({ readonly action: 'cancel' | 'delete' | 'run' } & Targets)
  | ({
      readonly action: 'retry';
      /**
       * Seconds over which the tasks come due, one after the other, 0 to 86,400. Default 0: all at
       * once.
       */
      readonly spread?: number;
    } & Targets)
  | {
      readonly action: 'rerun';
      readonly ids: readonly string[];
      /** New arguments, if there is exactly one id. Default: the arguments of the task. */
      readonly args?: readonly unknown[];
    }
  | { readonly action: 'pause' | 'resume'; readonly queue: string; readonly schedule?: never }
  | {
      readonly action: 'pause' | 'resume' | 'run';
      readonly schedule: string;
      readonly queue?: never;
      readonly ids?: never;
      readonly filter?: never;
    }
  /**
   * Removes a schedule that no running process defines any more. The tasks that it created are
   * kept.
   */
  | { readonly action: 'remove'; readonly schedule: string };

/** One page of a list. */
export interface TaskList extends Readonly<Omit<TaskPage, 'next'>> {
  /**
   * The `cursor` of the next page, or null on the last page. A page may hold fewer items than
   * requested, or none, and still have a next page: rare combinations of conditions are searched in
   * steps, so that each call is short.
   */
  readonly nextCursor: string | null;
}

/** One page of failure groups. */
export interface FailureList extends Readonly<Omit<FailurePage, 'next'>> {
  readonly nextCursor: string | null;
}

/** The aggregates over tasks: the arguments and the answer of each. */
export interface Aggregates
  extends Pick<EngineAggregates, 'statsSnapshot' | 'workers' | 'waits' | 'histograms'> {
  metrics: { query: [range?: RangeQuery]; answer: EngineAggregates['metrics']['answer'] };
  failures: { query: [query?: FailuresQuery]; answer: FailureList };
}

/** Reads tasks. The cost of a call does not grow with the history. */
export interface TaskReader extends Pick<EngineReader, 'describe' | 'watch'> {
  /**
   * Returns a page of tasks: 50 by default, or as many as `limit`.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT if the query is not valid,
   * TaskflowError INVALID_CURSOR if the cursor belongs to another list.
   */
  find(query?: FindQuery): Promise<TaskList>;
  /** Returns a task, or `undefined` if no task has that id. */
  get(id: string, query?: DetailQuery): Promise<TaskDetail | undefined>;
  /** Returns lines of a task's log, the oldest first: 500 by default, or as many as `limit`. */
  logs(id: string, query?: LinesQuery): Promise<readonly LogLine[]>;
  /** Returns an aggregate over tasks. */
  aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']>;
}

/** Controls tasks, queues and schedules. */
export interface TaskControl extends Pick<EngineControl, 'can'> {
  /**
   * Runs a command on tasks, a queue or a schedule.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT if the command is not valid: an unknown
   * key, a value that is `undefined`, neither or both of `ids` and `filter`, or no actor. Nothing
   * has been changed.
   * @throws TaskflowError COUNT_CHANGED if the filter finds a different number of tasks than
   * `expect`, NOT_FOUND if the queue or the schedule is unknown. Nothing has been changed.
   * @throws TaskflowError ENGINE_UNAVAILABLE if the storage cannot be reached. If its `maybeDone`
   * is `true`, some of the tasks may have been changed.
   */
  control(command: Command, by: CommandBy): Promise<Outcome>;
}

/** The source of the web layer: a TaskManager, or the result of `attachQueues`. */
export interface TaskSource extends TaskReader, TaskControl {
  /** Returns the tasks and schedules that this process defines. Absent if it defines none. */
  definitions?(): Definitions;
  /** Called when a middleware that shows the tasks is created. */
  mounted?(): void;
}
