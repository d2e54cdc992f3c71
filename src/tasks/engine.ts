import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import type { SharedStore } from '../store/shared-store.js';
import type { EnginePromises } from './promises.js';
import type {
  Coverage,
  FailureGroup,
  LogLevel,
  LogLine,
  Metrics,
  ProcessInfo,
  StatsSnapshot,
  TaskDetail,
  TaskError,
  TaskStatus,
  TaskSummary,
} from './types.js';

/** A task to be stored, complete: whoever enqueues made its id. */
export interface NewTask {
  /** UUIDv7; its time is `createdAt`. */
  readonly id: string;
  readonly name: string;
  /** JSON text of the list of arguments. */
  readonly args: string;
  readonly queue: string;
  readonly priority: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly source: 'manual' | 'scheduled';
  /** Unix milliseconds, as `runAt`. */
  readonly createdAt: number;
  readonly runAt: number;
  /**
   * Unix milliseconds from which `runAt` was counted, if it is the end of a delay; absent for a
   * time that was given as such.
   */
  readonly waitsFrom?: number | undefined;
  /** Attempts of one series: the first and its retries. */
  readonly attempts: number;
  /** How often it may run again after its process died; 0 for never. */
  readonly interrupts: number;
  /** Unix milliseconds after which it is neither started nor tried again. */
  readonly deadlineAt?: number | undefined;
  /**
   * While a task of the same name with this key is not cancelled and `until` (Unix milliseconds) is
   * to come, no second one is stored.
   */
  readonly idempotency?: { readonly key: string; readonly until: number } | undefined;
  /** Name of the schedule that made it. */
  readonly schedule?: string | undefined;
  /** Id of the task that this one is a rerun of. */
  readonly rerunOf?: string | undefined;
  /**
   * Tasks of this name that run at once over all processes, for an engine that decides it when the
   * task is stored.
   */
  readonly concurrency?: number | undefined;
  /**
   * Wait before the first retry, if each further one is the same or twice as long: for programs
   * that run the task without its definition.
   */
  readonly retryDelay?: { readonly milliseconds: number; readonly doubling: boolean } | undefined;
}

/** A task that this process is to run now. */
export interface ClaimedTask {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Number of this attempt, from 1. */
  readonly attempt: number;
  /** JSON text of the list of arguments. */
  readonly args: string;
  /** Number of this attempt within its series, from 1. */
  readonly tryNumber: number;
  /** Log lines the task has already. */
  readonly logLines: number;
  /** Unix milliseconds, as of {@link NewTask}. */
  readonly deadlineAt: number | undefined;
}

/** An error as an engine stores it. */
export interface StoredError extends TaskError {
  /** The same for failures of one kind. */
  fingerprint: string;
}

/** How an attempt ended. */
export type AttemptResult =
  | { status: 'success'; result?: string; resultOmitted?: string }
  /** With `retryIn` (seconds) the task waits that long and is tried again. */
  | { status: 'failed'; error: StoredError; retryIn?: number | undefined };

/** A log line on its way to the store, which numbers it. */
export interface NewLogLine {
  /** Unix milliseconds. */
  at: number;
  level: LogLevel;
  message: string;
  /** JSON text, or null. */
  fields: string | null;
}

/** How an attempt and its engine talk to each other. */
export interface AttemptIo {
  /**
   * Aborts when the task is cancelled, the process stops, or its time is over. Made when it is
   * asked for: few handlers do.
   */
  readonly signal: AbortSignal;
  /** Aborts the signal, because the time of the attempt is over. */
  abort(reason: unknown): void;
  log(line: NewLogLine): void;
  /** How far the work is, from 0 to 1. */
  progress(value: number, text: string | null): void;
}

/**
 * What an engine has stored of an attempt: the result that the runner reported, or else the state
 * of the task. `pending` means that the task runs again because the process stops.
 */
export type StoredEnd = 'reported' | Extract<TaskStatus, 'cancelled' | 'interrupted' | 'pending'>;

/** An attempt under way. Neither promise rejects. */
export interface RunningAttempt {
  /**
   * How it ended, which may be known before its handler ends: a time-out does not wait for one that
   * ignores its signal.
   */
  result: Promise<AttemptResult>;
  /**
   * Resolves when the handler has ended; the same promise as `result` where the one is known with
   * the other.
   */
  ended: Promise<unknown>;
  /**
   * Writes the log line of its end. The engine calls this once, after the end is stored. It does
   * not call it if that fails.
   */
  logEnd(stored: StoredEnd): void;
}

/** What decides the queue of a task. */
export type TaskRoute = Pick<NewTask, 'name' | 'queue' | 'priority' | 'concurrency'>;

/** What runs the tasks of an engine in this process. */
export interface TaskRunner {
  /** Attempts at once. */
  readonly concurrency: number;
  /**
   * Names with a handler here, each with how many of it may run at once over all processes; an
   * engine gives no other task.
   */
  names(): ReadonlyMap<string, number | undefined>;
  /** The routes of the tasks with a handler here, as their definitions say. */
  routes(): readonly TaskRoute[];
  /**
   * Seconds a cancelled task of that name may take to end before it is recorded as cancelled
   * anyway.
   */
  cancelGrace(name: string): number;
  /** Calls whenever `names` has changed. */
  onChange(listener: () => void): void;
  /** Runs one attempt. */
  run(task: ClaimedTask, io: AttemptIo): RunningAttempt;
}

/** A rule by which an engine enqueues a task again and again. */
export interface Schedule {
  readonly name: string;
  /** Name of the task. */
  readonly task: string;
  /**
   * The rule in words, such as `every 60` or `0 3 * * * Europe/Berlin`; when it changes, the next
   * run is planned anew.
   */
  readonly rule: string;
  /**
   * First time after `from`, in Unix milliseconds; `undefined` when there is none. `last` is the
   * run before it.
   */
  next(from: number, last?: number): number | undefined;
  /**
   * Milliseconds between two runs, if the rule is an interval; its next run is then never further
   * away than this.
   */
  readonly interval?: number | undefined;
  /** Makes the task of one run. */
  prepare(): NewTask;
  /** Whether a run that was missed by over a minute is made good, once. */
  readonly catchUp: boolean;
  /** Whether a run starts although the one before has not ended. */
  readonly overlap: boolean;
}

/** Who paused something, when, and why. */
export interface Pause {
  by: string;
  at: string;
  reason: string | null;
}

/** Where a schedule stands. */
export interface ScheduleState {
  name: string;
  task: string;
  rule: string;
  /** ISO 8601. Null while it is paused, and if it never fires again. */
  nextRunAt: string | null;
  lastRunAt: string | null;
  /** Id of the last task it made. */
  lastTaskId: string | null;
  paused: boolean;
  /** Null while it is not paused. */
  pause: Pause | null;
  /** That the engine cannot pause it, though it can pause queues. */
  pausable?: false;
  /**
   * How often a run was left out: because the task of the one before had not ended, or because it
   * was missed and `catchUp` is off. If a run is late, the times of its rule that passed before it
   * are not counted.
   */
  skipped: number;
  /**
   * Since when no running process defines it, ISO 8601. Null while a process does, and for the
   * first minute after the last one did.
   */
  undefinedSince: string | null;
}

/** A queue, as far as it is known. */
export interface QueueState {
  name: string;
  paused: boolean;
  /** Null while it is not paused. */
  pause: Pause | null;
}

/** Told of transitions that this process made, after they are stored. */
export interface TransitionObserver {
  wants(status: TaskStatus): boolean;
  tell(task: TaskSummary): void;
}

/** What a list can be sorted by. */
export type SortKey = 'createdAt' | 'startedAt' | 'endedAt' | 'duration' | 'name' | 'status';

/** Which tasks a list shows, as an engine takes it. Every condition given must hold. */
export interface TaskQuery {
  /** Any of these; all when absent. */
  status?: readonly TaskStatus[] | undefined;
  name?: string | undefined;
  queue?: string | undefined;
  /** Tags the task has, all of them; without a value any will do. */
  tags?: readonly { key: string; value?: string | undefined }[] | undefined;
  fingerprint?: string | undefined;
  /** Name of the schedule that made the task. */
  schedule?: string | undefined;
  /**
   * Words of the name, of a tag, or of a failure (name, error, tags); a tag; or the beginning of an
   * id. Past 20 words or 30 names the rest is left out.
   */
  text?: string | undefined;
  /** Created at or after, in Unix milliseconds. */
  from?: number | undefined;
  /** Created before. */
  to?: number | undefined;
  /** Default `createdAt`. Tasks without a value come last, ties go by id. */
  sort?: SortKey | undefined;
  /** Default `descending`. */
  order?: 'ascending' | 'descending' | undefined;
  limit: number;
  /** The `next` of the previous page. */
  after?: string | undefined;
  /** With `false` the page has no `total`: for who reads all of them. */
  counted?: boolean | undefined;
}

/** Which tasks a command is for: conditions as of a list, in no order. */
export type TaskFilter = Omit<TaskQuery, 'sort' | 'order' | 'limit' | 'after' | 'counted'>;

/** One page of a list. */
export interface TaskPage {
  items: readonly TaskSummary[];
  /**
   * Where the next page begins; null on the last one. A page may hold fewer items than asked for,
   * or none, and still have a next one: rare combinations of conditions are looked for in steps, so
   * that no call is long.
   */
  next: string | null;
  /** Exact up to 10,000. */
  total: number;
  /** `gte` past 10,000, where counting on would take too long, or where nothing was counted. */
  totalRelation: 'eq' | 'gte';
  /**
   * The list covers the newest tasks only, so there may be older ones that it does not have on any
   * page.
   */
  limited?: true;
  /** How many tasks a limited list was made from. */
  searched?: number;
}

/** Which lines of a log are asked for. */
export interface LogQuery {
  /** Lines after this number. */
  after?: number | undefined;
  /**
   * The last lines before this number, as many as `limit`, instead of the first ones after another.
   */
  before?: number | undefined;
  /** Of this attempt, or of an unknown one. */
  attempt?: number | undefined;
  /** Of this level, or of a worse one. */
  level?: LogLevel | undefined;
  /** Whose message or fields hold this text, in any case of ASCII letters. */
  text?: string | undefined;
  limit?: number | undefined;
}

/** The range of time of some statistics. */
export interface MetricsRange {
  /** Unix milliseconds; all time when absent. */
  from?: number | undefined;
  to?: number | undefined;
  /** Seconds of one point of the series. */
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
  /** Where the page before ended, as its `next` said. */
  after?: string | undefined;
}

/** One page of failure groups. */
export interface FailurePage extends Coverage {
  items: readonly FailureGroup[];
  next: string | null;
}

/** The aggregates of tasks: the arguments and the answer of each kind. */
export interface Aggregates {
  statsSnapshot: { query: []; answer: StatsSnapshot };
  metrics: { query: [range: MetricsRange]; answer: Metrics };
  failures: { query: [query: FailureQuery]; answer: FailurePage };
  workers: { query: []; answer: readonly ProcessInfo[] };
  /** For each queue with a task that could run now: since when the first of them has waited. */
  waits: { query: []; answer: readonly { queue: string; since: string }[] };
  /** How long the attempts of each function ran, of all tasks that ever ended. */
  histograms: { query: [bounds: readonly number[]]; answer: readonly DurationHistogram[] };
}

/** How long the attempts of a function ran. */
export interface DurationHistogram {
  /** The function. */
  name: string;
  /**
   * For each bound that was asked for, in seconds: how many attempts took at most that long, within
   * 4.5 %.
   */
  counts: readonly number[];
  /** Attempts that ran. */
  count: number;
  /** Seconds that they ran together. */
  sum: number;
}

/** What has changed since a `rev`: the present row of each task, merged. */
export interface Changes {
  /** The number up to which this tells everything. */
  rev: number;
  /** The newest 500. */
  upserts: readonly TaskSummary[];
  /** Ids of tasks that were deleted. */
  removed: readonly string[];
  /** The number of each of them, so that who has seen some is told the others alone. */
  revs: { upserts: readonly number[]; removed: readonly number[] };
  /** How many changed tasks are not among `upserts`. */
  dropped: number;
}

/** What an engine says of itself. */
export interface EngineDescription {
  engine: string;
  /** The number of the last change. */
  rev: number;
  /** Smallest number that can be resumed from. */
  oldestRev: number;
  queues: readonly QueueState[];
  schedules: readonly ScheduleState[];
}

/** The reading side of an engine. No call costs more because the history is long. */
export interface EngineReader {
  find(query: TaskQuery): Promise<TaskPage>;
  /** `logLines`: how many of the last lines of its log come with it. Default 10,000. */
  get(id: string, options?: { logLines?: number | undefined }): Promise<TaskDetail | undefined>;
  logs(id: string, query: LogQuery): Promise<readonly LogLine[]>;
  aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']>;
  describe(): Promise<EngineDescription>;
  /**
   * Yields whenever something changed after that number, at once if it has already. Ends with the
   * engine or the signal.
   */
  watch(after: number, signal: AbortSignal): AsyncIterable<Changes>;
}

/** What can be done with tasks, queues and schedules. */
export type Action = Command['action'];

/**
 * The tasks of a command as an engine takes it: by id, or all that a filter finds and the action
 * can be done to, the oldest first, {@link maxByFilter} a call. A filter without conditions finds
 * every task; callers must have said `'all'`.
 */
type Targets =
  | { ids: readonly string[]; filter?: undefined }
  | { filter: TaskFilter; ids?: undefined };

/** Tasks that one command by filter is done to, at most. */
export const maxByFilter = 10_000;

/**
 * What is to be done. `retry` runs the same task again from an end that is not success, `rerun`
 * makes a new one of any that has ended, `run` starts a waiting task, or a schedule, now.
 */
export type Command =
  | ({ action: 'cancel' | 'delete' | 'run' } & Targets)
  /**
   * `spread`: seconds over which the tasks come due, one after the other, instead of all at once.
   */
  | ({ action: 'retry'; spread?: number | undefined } & Targets)
  /** `args` is JSON text of the list of arguments; those of the task when absent. */
  | { action: 'rerun'; ids: readonly string[]; args?: string | undefined }
  | { action: 'pause' | 'resume'; queue: string }
  | { action: 'pause' | 'resume' | 'run' | 'remove'; schedule: string };

/** Who commands, and why. */
export interface CommandBy {
  /** Name of the user or program, 1 to 256 characters. It is required. */
  actor: string;
  /** For the audit, at most 500 characters. */
  reason?: string | undefined;
  /**
   * If `true`, nothing is done, and the answer says what would be done. For commands on tasks by id
   * or filter, except `rerun`.
   */
  dryRun?: boolean;
  /**
   * The number of tasks that the command must find: if it finds another number, nothing is done and
   * the error is COUNT_CHANGED.
   */
  expect?: number;
}

/**
 * What became of a command for one task: the task afterwards, or for `rerun` the new one. A deleted
 * task is as it last was, that of a dry run as it is.
 */
export type CommandResult =
  | { id: string; ok: true; task: TaskSummary }
  | {
      id: string;
      ok: false;
      code: 'TASK_NOT_FOUND' | 'TASK_STATE_CONFLICT';
      status?: TaskStatus;
      /** Why, if it is not because of the state alone. */
      detail?: string;
    };

/**
 * What became of a command, for each id in the order given, or for a filter in the order of the
 * tasks.
 */
export interface Outcome {
  results: readonly CommandResult[];
  /**
   * For a command on a queue or a schedule: whether the engine knows it. If it does not, nothing
   * was done, and the `control` of a TaskManager rejects with NOT_FOUND. The embedded engine knows
   * every queue, since a queue can be paused before its first task.
   */
  known?: boolean;
  /** Tasks that the filter found, those past {@link maxByFilter} too. */
  found?: { count: number; relation: 'eq' | 'gte' };
  /**
   * The engine looked at the newest tasks only, so there may be older ones that the filter would
   * find.
   */
  scope?: 'window';
}

/** The controlling side of an engine. */
export interface EngineControl {
  /** What it can do; the API answers 501 for the rest. */
  readonly can: ReadonlySet<Action>;
  control(command: Command, by: CommandBy): Promise<Outcome>;
}

/**
 * A function as this process has defined it. Durations are seconds, null where there is no limit.
 */
export interface FunctionSettings {
  name: string;
  /** Whether this process has a handler for it; else it only enqueues. */
  handled: boolean;
  queue: string;
  priority: number;
  tags: Readonly<Record<string, string>>;
  retries: number;
  delay: number;
  /** The factor of each further delay, or that a function of the app says it. */
  backoff: number | 'function';
  maxDelay: number;
  jitter: number;
  timeout: number | null;
  deadline: number | null;
  concurrency: number | null;
  requeueOnInterrupt: boolean;
  maxInterrupts: number;
  cancelGrace: number;
}

/** What this process has defined. */
export interface Definitions {
  functions: readonly FunctionSettings[];
  /**
   * The runs of a schedule after its next one, in Unix milliseconds; of one that is not defined
   * here there are none.
   */
  runsAfter(schedule: string, next: number, count: number): readonly number[];
}

/** What a new task is given. */
export interface TaskClock {
  /** Unix milliseconds. */
  now(): number;
  newTaskId(): string;
}

/**
 * A connection of the app's own to the file of the tasks: a `DatabaseSync` of
 * `koa-taskflow/sqlite`.
 */
export type AppConnection = DatabaseSyncInstance;

/** What a process tells an engine about its app. */
export interface AppDescription {
  /** Names of the tasks that it defines. */
  tasks: readonly string[];
}

/** What stores tasks and runs them. */
export interface TaskEngine extends EngineReader, EngineControl {
  /** What it promises differently from other engines. */
  readonly promises: EnginePromises;
  /** Runs tasks with the runner; without one this process only enqueues and shows. */
  start(runner: TaskRunner | undefined, app?: AppDescription): Promise<void>;
  /** Waits up to `timeout` seconds for running attempts, then hands back what is left. */
  stop(options: { timeout: number }): Promise<void>;
  /**
   * Resolves when all of them are durable; then all are, or none. The ids are those of the tasks,
   * or where an idempotency key was taken, of the task that has it.
   */
  enqueue(tasks: readonly NewTask[]): Promise<readonly string[]>;
  /**
   * Stores tasks within a transaction of the app's own, open on the same database. Absent where
   * there can be none.
   */
  enqueueIn?(connection: AppConnection, tasks: readonly NewTask[]): readonly string[];
  /** The engine's own clock and ids, where it does not go by this process's. */
  readonly clock?: TaskClock;
  /** Takes up a schedule; it fires while the engine is started with a runner. */
  schedule(schedule: Schedule): void;
  /** Copies the whole database to a path while it is in use. Absent where there is none. */
  backup?(path: string): Promise<void>;
  observe(observer: TransitionObserver): void;
  readonly store: SharedStore;
}
