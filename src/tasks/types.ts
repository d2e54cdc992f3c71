/*
 * Glossary. These words have the same meaning in the code, the database, the API, the docs and the
 * user interface.
 *
 * Tasks
 * - task: a unit of work that was enqueued, with a name, arguments, a state and an id that never
 *   changes.
 * - function: all tasks with the same name, as the API and the dashboard show them.
 * - definition: the handler and the options of a name. A process without the handler can enqueue
 *   and show its tasks, but not run them.
 * - handler: the function of the app that does the work.
 * - state: pending, running, success, failed, interrupted or cancelled (`status` in JSON). A
 *   pending task is ready if it can run now, else it is delayed: scheduled for later or waiting for
 *   a retry.
 * - attempt: one call of the handler for a task. The first attempt and its retries are a series.
 * - retry: another attempt for the same task. A rerun is a new task with the same arguments.
 * - queue: a label that groups tasks. It can be paused. A partition is a name together with a
 *   queue.
 * - schedule: a recurrence rule (a cron expression or an interval) by which tasks are enqueued.
 * - idempotency key: a name for a unit of work. A second task with the same key is not stored.
 * - deadline: the time after which a task is neither started nor retried.
 *
 * Engines and processes
 * - engine: the component that stores and runs tasks, such as the embedded engine (SQLite).
 * - process: a running program that uses the tasks. A worker is a process that runs tasks.
 * - owner: the process that runs an attempt. Its owner lock tells other processes that it is alive.
 * - claim: a transaction that makes a process the owner of ready tasks.
 * - slot: the capacity of a worker for one attempt. The executor of a worker fills its slots.
 * - recovery: taking over the tasks of a dead process.
 * - maintenance: deleting data that is older than its retention.
 * - heartbeat: a regular sign that a process is alive.
 * - read model: a bounded copy of Redis data that a reading process keeps to answer queries. The
 *   window is the part of the history that it covers.
 *
 * Changes and statistics
 * - rev: the change number. Each transition of a task gets the next number of the whole database.
 * - row id: the number of a row in a table of tasks (`seq`).
 * - count: the number of tasks in a state. Counters keep counts up to date with each change.
 * - stats: statistics about ended tasks. A rollup holds those of one minute, hour or day; a stats
 *   snapshot holds those that the dashboard shows first.
 * - failure group: all failures of a function with the same fingerprint, which is a hash of the
 *   error without its variable parts.
 */

/** All states, in the order the dashboard shows them. */
export const taskStatuses = [
  'pending',
  'running',
  'success',
  'failed',
  'interrupted',
  'cancelled',
] as const;

/** The state of a task. */
export type TaskStatus = (typeof taskStatuses)[number];

/** Levels of log lines, the most severe last. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error'] as const;

/** The severity of a log line. */
export type LogLevel = (typeof logLevels)[number];

/**
 * The stored details of an error: everything but its name and message. All of it is bounded: see
 * {@link ErrorDetails.truncated}.
 */
export interface ErrorDetails {
  /** `code` of the error as text, such as `ECONNREFUSED`; absent if it has none. */
  code?: string;
  /** What the error was thrown because of (ECMAScript `cause`). */
  cause?: TaskError;
  /** The members of an `AggregateError`. */
  errors?: readonly TaskError[];
  /**
   * Further causes or members were left out: at most 8 levels, 20 errors and 32 Ki characters are
   * kept.
   */
  truncated?: true;
}

/** An error as it is kept. */
export interface TaskError extends ErrorDetails {
  /**
   * `name` of the error, or the name of its class if the class does not set `name`. For a thrown
   * value that is not an error: its type.
   */
  name: string;
  message: string;
  stack: string | null;
}

/** A task as lists, events and the stream show it. Times are ISO 8601 in UTC, durations seconds. */
export interface TaskSummary {
  id: string;
  name: string;
  status: TaskStatus;
  queue: string;
  /** Larger goes first. */
  priority: number;
  tags: Readonly<Record<string, string>>;
  source: 'manual' | 'scheduled';
  createdAt: string;
  /** Not started before this. */
  runAt: string;
  /** Start of the last attempt; null before the first. */
  startedAt: string | null;
  /** When the task reached its present state, if that is an end. */
  endedAt: string | null;
  /** How long the last attempt ran; null unless the task has ended. */
  duration: number | null;
  /** Number of the last attempt; 0 before the first. */
  attempt: number;
  /** The attempt after which it is not retried by itself. */
  maxAttempts: number;
  /** 0 to 1, or null when the handler says nothing of it. */
  progress: number | null;
  /** What the handler said with it, such as what is being counted. */
  progressText?: string;
  /** Error of the last attempt that ended with one. */
  error: { name: string; message: string } | null;
  /** The same for failures of one kind; null without an error. */
  fingerprint: string | null;
  /** The engine's own word for the state, such as `cancelling`. */
  engineState?: string;
}

/** One call of the handler for a task. */
export interface Attempt {
  number: number;
  status: 'running' | 'success' | 'failed' | 'interrupted' | 'cancelled';
  startedAt: string;
  endedAt: string | null;
  error: TaskError | null;
}

/** A line of a task's log. */
export interface LogLine {
  /** Number of the line within its task, from 1. */
  n: number;
  /** Null if it is not known, because another program wrote the line. */
  at: string | null;
  /** Null if it is not known, because another program wrote the line. */
  attempt: number | null;
  level: LogLevel;
  message: string;
  fields: Readonly<Record<string, unknown>> | null;
  /**
   * The attempt had been ended when its handler wrote this: it was cancelled or timed out, and went
   * on.
   */
  late?: true;
}

/** A task with everything that is known of it. */
export interface TaskDetail extends TaskSummary {
  /** Error of the last attempt that ended with one, with its causes. Its stack is in `stack`. */
  error: ({ name: string; message: string } & ErrorDetails) | null;
  args: readonly unknown[];
  /** Why there are no arguments although the task has some. */
  argsOmitted?: string;
  attempts: readonly Attempt[];
  logs: readonly LogLine[];
  /** What the handler returned; null when it returned nothing, or when it was left out. */
  result: unknown;
  /** Why there is no result although the handler returned one. */
  resultOmitted?: string;
  /** Stack of the last error. */
  stack: string | null;
  /** The task this one is a rerun of, and the one that is a rerun of this. */
  rerunOf: string | null;
  rerunAs: string | null;
  /**
   * The tree of tasks that wait for each other which this one is part of, from the topmost on;
   * absent where it stands alone.
   */
  flow?: FlowNode;
}

/** A task in a tree of tasks, of which each waits for its children. */
export interface FlowNode {
  id: string;
  name: string;
  /** Null for a task that is not to be read here. */
  status: TaskStatus | null;
  engineState?: string;
  children: readonly FlowNode[];
  /** How many more children there are. */
  more: number;
}

/** How many tasks are in each state. */
export type Counts = Record<TaskStatus, number>;

/** Seconds; null while nothing has ended. Percentiles are within 2.2 %. */
export interface Durations {
  avg: number | null;
  min: number | null;
  max: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

/** Counts, rate and durations of some tasks. */
export interface Stats {
  counts: Counts;
  /** success ÷ (success + failed + interrupted), 0 to 1; null while nothing has ended. */
  successRate: number | null;
  durations: Durations;
}

/** Which tasks some figures include. */
export interface Coverage {
  /**
   * ISO 8601. Present if the figures may lack tasks. They include every task that ended since this
   * time, and of the tasks that ended before only those that the process has read.
   */
  completeSince?: string;
}

/** Figures of all tasks, of each function and queue, and over time. */
export interface Metrics extends Stats, Coverage {
  functions: readonly (Stats & { name: string })[];
  queues: readonly (Stats & { name: string })[];
  series: readonly { at: string; success: number; failed: number; p95: number | null }[];
}

/**
 * Tasks that failed, and were not retried, with the same error: they have the same function, error
 * class and code, first stack frame of the app, innermost cause, and message, apart from numbers
 * and ids.
 */
export interface FailureGroup {
  fingerprint: string;
  /** The function. */
  name: string;
  /** The error of the last task. */
  error: { name: string; message: string };
  /** How many tasks have failed in this way, including tasks that were retried or deleted since. */
  count: number;
  /** How many of them are failed now, so that a retry would run them. */
  failed: number;
  first: string;
  last: string;
  lastTaskId: string;
  /** How many failed in each of the last 24 clock hours. The present hour comes last. */
  trend: readonly number[];
}

/** An attempt that was given up while its handler still runs. */
export interface StuckAttempt {
  /** The task. */
  id: string;
  /** Name of the task. */
  name: string;
  /** Number of the attempt. */
  attempt: number;
  /** When the attempt was given up. ISO 8601. */
  since: string;
}

/** A process that has the tasks open. */
export interface ProcessInfo {
  id: string;
  host: string;
  /** Null, like the following members, if the engine does not know. */
  pid: number | null;
  /** The version of this package. */
  version: string | null;
  /** The maximum number of attempts at the same time, over all its queues; 0 if it runs none. */
  slots: number | null;
  /** How many tasks it runs now. */
  running: number | null;
  /**
   * Slots that are held by handlers which did not stop when their attempt was cancelled or timed
   * out; null where the engine does not know. `running` does not count them.
   */
  stuck: number | null;
  /** The attempts of those handlers, at most 20. The one that was given up first comes first. */
  stuckAttempts: readonly StuckAttempt[];
  /** The only queue from which it takes tasks. */
  queue?: string;
  startedAt: string;
  /** Seconds since its last heartbeat. While the process is in the list, it counts as running. */
  lastSign: number;
}

/** Sums over the processes that have the tasks open. */
export interface WorkerTotals {
  /** How many processes there are. */
  count: number;
  /** The maximum number of attempts that they run at the same time, over all their queues. */
  slots: number;
  /** Slots that are held by handlers which did not stop when their attempt was given up. */
  stuck: number;
}

/** A paused queue. */
interface PausedQueue {
  queue: string;
  by: string;
  at: string;
  reason: string | null;
}

/** The statistics that the live stream sends, at most once a second. */
export interface StatsSnapshot {
  counts: Counts;
  successRate: number | null;
  running: number;
  pending: number;
  /** Tasks that ended within the last minute. */
  perMinute: number;
  /** Queues that are paused, which explains why their tasks do not run. */
  paused: readonly PausedQueue[];
}
