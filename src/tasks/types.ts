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
 * - grace period: how long a handler may take to end after its signal aborts.
 * - stuck attempt: an attempt whose handler still runs after its grace period. It keeps its slot.
 * - recovery: taking over the tasks of a dead process.
 * - maintenance: deleting data that is older than its retention.
 * - heartbeat: a regular sign that a process is alive.
 * - read model: a bounded copy of Redis data that a reading process keeps to answer queries. The
 *   window is the part of the history that it covers.
 * - index scan: a query that reads tasks in the order of one index. A key range bounds it. Its
 *   residual filter has the conditions that no index answers, and checks at most as many candidates
 *   as the scan limit.
 *
 * Changes and statistics
 * - transition: a change of a task's state.
 * - rev: the change number. Each change of a task gets the next number of the whole database.
 * - tombstone: a row that reports the deletion of a task to readers of changes.
 * - row id: the number of a row in a table of tasks (`rowid`).
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
  /** The error that caused this one (ECMAScript `cause`). */
  cause?: TaskError;
  /** The members of an `AggregateError`. */
  errors?: readonly TaskError[];
  /**
   * Set if further causes or members were left out. At most 8 levels, 20 errors and 32 Ki
   * characters are kept.
   */
  truncated?: true;
}

/** An error as it is stored. */
export interface TaskError extends ErrorDetails {
  /**
   * `name` of the error, or the name of its class if the class does not set `name`. For a thrown
   * value that is not an error: its type.
   */
  name: string;
  message: string;
  stack: string | null;
}

/**
 * A task as lists, events and the stream show it. Times are ISO 8601 in UTC, durations are seconds.
 */
export interface TaskSummary {
  id: string;
  name: string;
  status: TaskStatus;
  queue: string;
  /** Tasks with a higher priority run first. */
  priority: number;
  tags: Readonly<Record<string, string>>;
  source: 'manual' | 'scheduled';
  createdAt: string;
  /** The task does not start before this time. */
  runAt: string;
  /** Start of the last attempt; null before the first attempt. */
  startedAt: string | null;
  /** When the task reached its current state; null if it has not ended. */
  endedAt: string | null;
  /** Duration of the last attempt; null if the task has not ended. */
  duration: number | null;
  /** Number of the last attempt; 0 before the first attempt. */
  attempt: number;
  /** Number of the attempt after which the task is not retried automatically. */
  maxAttempts: number;
  /** From 0 to 1; null if the handler has reported no progress. */
  progress: number | null;
  /** The text that the handler reported with the progress, such as `1,200 of 3,000 rows`. */
  progressText?: string;
  /** The error of the last attempt that failed. A new attempt or a cancellation sets it to null. */
  error: { name: string; message: string } | null;
  /** The fingerprint of the failure group of the error; null if `error` is null. */
  fingerprint: string | null;
  /** The engine's own name for the state, such as `cancelling`. */
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
  /** Null if unknown, because another program wrote the line. */
  at: string | null;
  /** Null if unknown, because another program wrote the line. */
  attempt: number | null;
  level: LogLevel;
  message: string;
  fields: Readonly<Record<string, unknown>> | null;
  /**
   * Set if the handler wrote the line after its attempt had ended, because the attempt was
   * cancelled or timed out.
   */
  late?: true;
}

/** A task with all its details. */
export interface TaskDetail extends TaskSummary {
  /** The last error as in {@link TaskSummary}, with its causes. The stack is in `stack`. */
  error: ({ name: string; message: string } & ErrorDetails) | null;
  args: readonly unknown[];
  /** Why the arguments are left out, if they are. */
  argsOmitted?: string;
  attempts: readonly Attempt[];
  logs: readonly LogLine[];
  /**
   * The value that the handler returned; null if it returned nothing or the result was left out.
   */
  result: unknown;
  /** Why the result is left out, if it is. */
  resultOmitted?: string;
  /** The stack of the last error; null if `error` is null or the error has no stack. */
  stack: string | null;
  /**
   * The id of the task from which this task was rerun, and of the task that is a rerun of this one.
   */
  rerunOf: string | null;
  rerunAs: string | null;
  /**
   * The flow that contains this task, from its root: a tree in which each task waits for its
   * children. Absent if the task is not part of a flow.
   */
  flow?: FlowNode;
}

/** A task in a flow. It waits for its children. */
export interface FlowNode {
  id: string;
  name: string;
  /** Null if this reader cannot read the task. */
  status: TaskStatus | null;
  engineState?: string;
  children: readonly FlowNode[];
  /** Number of further children that are left out. */
  more: number;
}

/** The number of tasks in each state. */
export type Counts = Record<TaskStatus, number>;

/** Durations in seconds; null if nothing has ended. Percentiles are within 2.2 %. */
export interface Durations {
  avg: number | null;
  min: number | null;
  max: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

/** Counts, success rate and durations of a set of tasks. */
export interface Stats {
  counts: Counts;
  /** success ÷ (success + failed + interrupted), from 0 to 1; null if nothing has ended. */
  successRate: number | null;
  durations: Durations;
}

/** Which tasks the statistics cover. */
export interface Coverage {
  /**
   * ISO 8601. Present if the statistics may not cover all tasks. They cover every task that ended
   * since this time, but only those earlier tasks that the process has read.
   */
  completeSince?: string;
}

/** Statistics of all tasks, of each function and queue, and over time. */
export interface Metrics extends Stats, Coverage {
  functions: readonly (Stats & { name: string })[];
  queues: readonly (Stats & { name: string })[];
  series: readonly { at: string; success: number; failed: number; p95: number | null }[];
}

/**
 * Tasks of a function that failed with the same fingerprint and were not retried automatically.
 * Their errors have the same class and code, first stack frame of the app, innermost cause, and
 * message apart from numbers and ids.
 */
export interface FailureGroup {
  fingerprint: string;
  /** The function. */
  name: string;
  /** The error of the last task. */
  error: { name: string; message: string };
  /** Number of failures, including tasks that were retried or deleted since. */
  count: number;
  /** Number of these tasks that are failed now, so that a retry would run them. */
  failed: number;
  first: string;
  last: string;
  lastTaskId: string;
  /** Number of failures in each of the last 24 clock hours. The current hour comes last. */
  trend: readonly number[];
}

/** An attempt that was given up while its handler still runs. */
export interface StuckAttempt {
  /** Id of the task. */
  id: string;
  /** Name of the task. */
  name: string;
  /** Number of the attempt. */
  attempt: number;
  /** When the attempt was given up. ISO 8601. */
  since: string;
}

/** A process that uses the tasks. */
export interface ProcessInfo {
  id: string;
  host: string;
  /** Null, like the following members, if the engine does not know. */
  pid: number | null;
  /** Version of this package. */
  version: string | null;
  /** Maximum number of attempts at the same time, over all its queues; 0 if it runs no tasks. */
  slots: number | null;
  /** Number of tasks that it runs now. */
  running: number | null;
  /**
   * Number of slots held by handlers that did not stop when their attempt was cancelled or timed
   * out; null if the engine does not know. `running` does not count them.
   */
  stuck: number | null;
  /** The attempts of these handlers, at most 20, in the order in which they were given up. */
  stuckAttempts: readonly StuckAttempt[];
  /** The queue from which it takes tasks, if it is only one. */
  queue?: string;
  startedAt: string;
  /** Seconds since its last heartbeat. A process in the list counts as running. */
  lastSign: number;
}

/** Totals over the processes that use the tasks. */
export interface WorkerTotals {
  /** Number of processes. */
  count: number;
  /** Maximum number of attempts at the same time, over all processes and queues. */
  slots: number;
  /** Number of slots held by handlers that did not stop when their attempt was given up. */
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
  /** Number of tasks that ended within the last minute. */
  perMinute: number;
  /** The paused queues, whose tasks do not start. */
  paused: readonly PausedQueue[];
}
