import type { TaskRoute } from './new-task.js';
import type { LogLevel, TaskError, TaskStatus } from './types.js';

/** A task that this process must run now. */
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
  /** How many log lines the task already has. */
  readonly logLines: number;
  /** Unix milliseconds. After this time, the task is neither started nor retried. */
  readonly deadlineAt: number | undefined;
}

/** An error as an engine stores it. */
export interface StoredError extends TaskError {
  /** The same for all failures in one failure group. */
  fingerprint: string;
}

/** How an attempt ended. */
export type AttemptResult =
  | { status: 'success'; result?: string; resultOmitted?: string }
  /** With `retryIn` (seconds), the task is retried after that time. */
  | { status: 'failed'; error: StoredError; retryIn?: number | undefined };

/** A log line to be stored. The engine numbers it. */
export interface NewLogLine {
  /** Unix milliseconds. */
  at: number;
  level: LogLevel;
  message: string;
  /** JSON text, or null. */
  fields: string | null;
}

/** The connection between an attempt and its engine. */
export interface AttemptIo {
  /**
   * Aborts when the task is cancelled, the process stops, or the attempt times out. Created on
   * first use, because few handlers use it.
   */
  readonly signal: AbortSignal;
  /** Aborts the signal because the attempt timed out. */
  abort(reason: unknown): void;
  log(line: NewLogLine): void;
  /** Stores the progress, from 0 to 1. */
  progress(value: number, text: string | null): void;
}

/**
 * What an engine has stored for an attempt: the result that the runner reported, or else the state
 * of the task. `pending` means that the task runs again because the process stops.
 */
export type StoredEnd = 'reported' | Extract<TaskStatus, 'cancelled' | 'interrupted' | 'pending'>;

/** A running attempt. Neither promise rejects. */
export interface RunningAttempt {
  /**
   * How it ended. May resolve before the handler ends: a timeout does not wait for a handler that
   * ignores its signal.
   */
  result: Promise<AttemptResult>;
  /** Resolves when the handler has ended. The same promise as `result` if both resolve together. */
  ended: Promise<unknown>;
  /**
   * Logs the end of the attempt. The engine calls this once, after it has stored the end, and never
   * if storing fails.
   */
  logEnd(stored: StoredEnd): void;
}

/** Runs the tasks of an engine in this process. */
export interface TaskRunner {
  /** Maximum number of attempts that run at the same time. */
  readonly concurrency: number;
  /**
   * Returns the names of the tasks with a handler in this process. Each comes with its limit of
   * running tasks over all processes. The engine runs no other tasks.
   */
  names(): ReadonlyMap<string, number | undefined>;
  /** Returns the routes of the tasks with a handler in this process, from their definitions. */
  routes(): readonly TaskRoute[];
  /**
   * Returns the grace period of a task name: seconds that a cancelled handler may take to end
   * before the engine records the task as cancelled anyway.
   */
  cancelGrace(name: string): number;
  /** Registers a listener that is called whenever `names` has changed. */
  onChange(listener: () => void): void;
  /** Runs one attempt. */
  run(task: ClaimedTask, io: AttemptIo): RunningAttempt;
}
