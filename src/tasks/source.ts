import type { z } from 'zod';
import type { Action, CommandBy, Outcome } from './commands.js';
import type { Changes, EngineDescription } from './engine.js';
import type { Aggregates as EngineAggregates } from './engine-queries.js';
import type { Definitions } from './function-settings.js';
import type * as Queries from './query-schemas.js';
import type { Coverage, FailureGroup, LogLine, TaskDetail, TaskSummary } from './types.js';

type ReadOnly<T> = T extends readonly (infer U)[] ? readonly U[] : T;

/**
 * What callers give for a schema of `queries.ts`: lists may be read-only, and times may be Dates.
 */
type Asked<S extends z.ZodType> = {
  readonly [K in keyof z.input<S>]: K extends 'from' | 'to'
    ? z.input<S>[K] | Date
    : ReadOnly<z.input<S>[K]>;
};

/** As {@link Asked}, without `undefined`, which a command refuses. */
type Defined<T> = { readonly [K in keyof T]: Exclude<T[K], undefined> };

/** Any member of an object, one at least. */
type AtLeastOne<T> = { [K in keyof T]-?: Required<Pick<T, K>> & Omit<T, K> }[keyof T];

/** Which tasks `find` lists, and in which order. The names are those of the HTTP API. */
export type FindQuery = Asked<typeof Queries.findQuery>;
/** Which lines of a log are asked for. */
export type LinesQuery = Asked<typeof Queries.linesQuery>;
/** How much of a task is asked for. */
export type DetailQuery = Asked<typeof Queries.detailQuery>;
/** The range of time that metrics are asked for. */
export type RangeQuery = Asked<typeof Queries.rangeQuery>;
/** Which failure groups are asked for, the last seen first. */
export type FailuresQuery = Asked<typeof Queries.failureQuery>;

/** The conditions that choose tasks, as `find` takes them. */
export type TaskConditions = Defined<Omit<FindQuery, 'sort' | 'limit' | 'cursor' | 'counted'>>;

/** The tasks of a command by conditions: one condition at least, or `'all'` for every task. */
export type CommandFilter = 'all' | AtLeastOne<TaskConditions>;

/**
 * The tasks of a command: at most 10,000 ids, or conditions, of which each call takes the oldest
 * 10,000 matching tasks. It is always exactly one of the two.
 */
export type Targets =
  | { readonly ids: readonly string[]; readonly filter?: never }
  | { readonly filter: CommandFilter; readonly ids?: never };

/**
 * What is to be done. `retry` runs the same task again from an end that is not success, `rerun`
 * makes a new one of any that has ended, `run` starts a waiting task, or a schedule, now.
 */
export type Command =
  | ({ readonly action: 'cancel' | 'delete' | 'run' } & Targets)
  | ({
      readonly action: 'retry';
      /**
       * Seconds over which the tasks come due, 0 to 86,400, one after the other. Default 0: all at
       * once.
       */
      readonly spread?: number;
    } & Targets)
  | {
      readonly action: 'rerun';
      readonly ids: readonly string[];
      /** New arguments, if it is one task. Default: those of the task. */
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
  /** Forgets a schedule that no running process defines any more. Its tasks stay. */
  | { readonly action: 'remove'; readonly schedule: string };

/** One page of a list. */
export interface TaskList {
  readonly items: readonly TaskSummary[];
  /**
   * What `cursor` takes for the next page; null on the last one. A page may hold fewer items than
   * asked for, or none, and still have a next one: rare combinations of conditions are searched in
   * steps, so that no call takes long.
   */
  readonly nextCursor: string | null;
  /** Exact up to 10,000. */
  readonly total: number;
  /** `gte` past 10,000, if counting on would take too long, or if nothing was counted. */
  readonly totalRelation: 'eq' | 'gte';
  /**
   * The list covers the newest tasks only, so there may be older ones that it does not have on any
   * page.
   */
  readonly limited?: true;
  /** How many tasks a limited list was made from. */
  readonly searched?: number;
}

/** One page of failure groups. */
export interface FailureList extends Coverage {
  readonly items: readonly FailureGroup[];
  readonly nextCursor: string | null;
}

/** What is summed up over tasks: what each kind is asked with, and what it answers. */
export interface Aggregates
  extends Pick<EngineAggregates, 'statsSnapshot' | 'workers' | 'waits' | 'histograms'> {
  metrics: { query: [range?: RangeQuery]; answer: EngineAggregates['metrics']['answer'] };
  failures: { query: [query?: FailuresQuery]; answer: FailureList };
}

/** The reading side of tasks. No call costs more because the history is long. */
export interface TaskReader {
  /**
   * Lists tasks, 50 unless `limit` says otherwise.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT for a wrong query, TaskflowError
   * INVALID_CURSOR for a cursor of another list.
   */
  find(query?: FindQuery): Promise<TaskList>;
  /** Returns one task, or `undefined` if no task has that id. */
  get(id: string, query?: DetailQuery): Promise<TaskDetail | undefined>;
  /** Returns lines of a task's log, the oldest first, 500 unless `limit` says otherwise. */
  logs(id: string, query?: LinesQuery): Promise<readonly LogLine[]>;
  /** Returns sums over tasks. */
  aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']>;
  /** Returns what the engine says of itself, its queues and its schedules. */
  describe(): Promise<EngineDescription>;
  /**
   * Yields whenever something changed after that number, at once if it has already. Ends with the
   * engine or the signal.
   */
  watch(after: number, signal: AbortSignal): AsyncIterable<Changes>;
}

/** The controlling side of tasks. */
export interface TaskControl {
  /** What the engine can do; the API answers 501 for the rest. */
  readonly can: ReadonlySet<Action>;
  /**
   * Runs a command on tasks, a queue or a schedule.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT if the command is not valid: an unknown
   * key, a value that is `undefined`, neither or both of `ids` and `filter`, or no actor. Nothing
   * is done.
   * @throws TaskflowError COUNT_CHANGED if the filter finds another number of tasks than `expect`,
   * NOT_FOUND if the queue or the schedule is unknown. Nothing is done.
   */
  control(command: Command, by: CommandBy): Promise<Outcome>;
}

/** What the web layer shows: a TaskManager, or what `attachQueues` returns. */
export interface TaskSource extends TaskReader, TaskControl {
  /** Absent if nothing is defined in this process. */
  definitions?(): Definitions;
  /** Called when a middleware is made that shows the tasks. */
  mounted?(): void;
}
