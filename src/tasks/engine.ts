import type { SharedStore } from '../store/shared-store.js';
import type { LogLevel, LogLine, Metrics, Pulse, TaskDetail, TaskStatus, TaskSummary } from './types.js';

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
  /** Attempts of one series: the first and its retries. */
  readonly attempts: number;
  /** How often it may run again after its process died; 0 for never. */
  readonly interrupts: number;
}

/** A task that this process is to run now. */
export interface ClaimedTask {
  readonly summary: TaskSummary;
  /** JSON text of the list of arguments. */
  readonly args: string;
  /** Number of this attempt within its series, from 1. */
  readonly tryNumber: number;
  /** Log lines the task has already. */
  readonly logLines: number;
}

/** What is kept of an error. */
export interface StoredError {
  name: string;
  message: string;
  stack: string | null;
  fingerprint: string;
}

/** How an attempt ended. */
export type AttemptResult =
  | { status: 'success'; result?: string; resultOmitted?: string }
  /** With `retryIn` (seconds) the task waits that long and is tried again. */
  | { status: 'failed'; error: StoredError; retryIn?: number | undefined };

/** A log line on its way to the store. */
export interface NewLogLine {
  n: number;
  /** Unix milliseconds. */
  at: number;
  level: LogLevel;
  message: string;
  /** JSON text, or null. */
  fields: string | null;
}

/** How an attempt and its engine talk to each other. */
export interface AttemptIo {
  /** Aborts when the task is cancelled or the process stops. */
  signal: AbortSignal;
  log(line: NewLogLine): void;
}

/** What runs the tasks of an engine in this process. */
export interface TaskRunner {
  /** Attempts at once. */
  readonly concurrency: number;
  /** Names with a handler here; an engine gives no other task. */
  names(): readonly string[];
  /** Seconds a cancelled task of that name may take to end before it is recorded as cancelled anyway. */
  cancelGrace(name: string): number;
  /** Calls whenever `names` has changed. */
  onChange(listener: () => void): void;
  /** Runs one attempt. Never rejects. */
  run(task: ClaimedTask, io: AttemptIo): Promise<AttemptResult>;
}

/** Told of transitions that this process made, after they are stored. */
export interface TransitionObserver {
  wants(status: TaskStatus): boolean;
  tell(task: TaskSummary): void;
}

/** Which tasks a list shows. */
export interface TaskQuery {
  /** Any of these; all when absent. */
  status?: readonly TaskStatus[] | undefined;
  name?: string | undefined;
  limit: number;
  /** Where the page before ended, as its `next` said. */
  after?: string | undefined;
}

/** Newest first. */
export interface TaskPage {
  items: readonly TaskSummary[];
  /** Position of the last item, for the next page; null on the last one. */
  next: string | null;
  /** Exact up to 10,000. */
  total: number;
  totalRelation: 'eq' | 'gte';
}

/** Which lines of a log are asked for. */
export interface LogQuery {
  /** Lines after this number. */
  after?: number | undefined;
  limit?: number | undefined;
}

/** The stretch of time that figures are asked for. */
export interface MetricsRange {
  /** Unix milliseconds; all time when absent. */
  from?: number | undefined;
  to?: number | undefined;
  /** Seconds of one point of the series. */
  step?: number | undefined;
}

/** What has changed since a `rev`: the present row of each task, merged. */
export interface Changes {
  /** The number up to which this tells everything. */
  rev: number;
  /** The newest 500. */
  upserts: readonly TaskSummary[];
  /** Ids of tasks that were deleted. */
  removed: readonly string[];
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
}

/** The reading side of an engine. No call costs more because the history is long. */
export interface TaskReader {
  find(query: TaskQuery): Promise<TaskPage>;
  get(id: string): Promise<TaskDetail | undefined>;
  logs(id: string, query: LogQuery): Promise<readonly LogLine[]>;
  aggregate(kind: 'pulse'): Promise<Pulse>;
  aggregate(kind: 'metrics', range: MetricsRange): Promise<Metrics>;
  describe(): Promise<EngineDescription>;
  /** Yields whenever something changed after that number, at once if it has already. Ends with the engine or the signal. */
  watch(after: number, signal: AbortSignal): AsyncIterable<Changes>;
}

/** Something that can be done with a task. */
export type Action = 'retry' | 'cancel';

/** What is to be done with tasks. */
export type Command = { action: 'retry'; ids: readonly string[] } | { action: 'cancel'; ids: readonly string[] };

/** Who commands, and why. */
export interface CommandBy {
  actor: string;
  reason?: string | undefined;
}

/** What became of a command for one task. */
export type CommandResult =
  | { id: string; ok: true; task: TaskSummary }
  | { id: string; ok: false; code: 'TASK_NOT_FOUND' | 'TASK_STATE_CONFLICT'; status?: TaskStatus };

/** What became of a command, for each id in the order given. */
export interface Outcome {
  results: readonly CommandResult[];
}

/** The controlling side of an engine. */
export interface TaskControl {
  /** What it can do; the API answers 501 for the rest. */
  readonly can: ReadonlySet<Action>;
  control(command: Command, by: CommandBy): Promise<Outcome>;
}

/** What the web layer shows: a TaskManager, or anything else with these two sides. */
export interface TaskSource extends TaskReader, TaskControl {}

/** What stores tasks and runs them. */
export interface TaskEngine extends TaskSource {
  /** Runs tasks with the runner; without one this process only enqueues and shows. */
  start(runner: TaskRunner | undefined): Promise<void>;
  /** Waits up to `timeout` seconds for running attempts, then hands back what is left. */
  stop(options: { timeout: number }): Promise<void>;
  /** Resolves when all of them are durable; then all are, or none. */
  enqueue(tasks: readonly NewTask[]): Promise<void>;
  observe(observer: TransitionObserver): void;
  readonly store: SharedStore;
}
