import { AsyncLocalStorage } from 'node:async_hooks';
import { type Logger, loggerOption, wrongType } from '../options.js';
import type { LogLevel } from './types.js';

/** Describes the attempt in which a handler runs. */
export interface TaskContext {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  /** Number of this attempt, from 1. */
  readonly attempt: number;
  readonly tags: Readonly<Record<string, string>>;
  /**
   * Aborts when the task is cancelled or the process stops. Pass it to every call that accepts a
   * signal.
   */
  readonly signal: AbortSignal;
}

/** The members of an attempt that `taskContext`, `taskLog` and `taskProgress` use. */
export interface Running {
  readonly context: TaskContext;
  log(level: LogLevel, message: string, fields: object | undefined): void;
  progress(value: number, text: string | undefined): void;
}

const current = new AsyncLocalStorage<Running>();

/**
 * Calls a handler. {@link taskLog} and {@link taskContext} belong to its task, also in the
 * functions that it calls.
 */
export function runInTask<A extends unknown[], T>(
  running: Running,
  handler: (...args: A) => T,
  args: A,
): T {
  return current.run(running, handler, ...args);
}

const inert: TaskContext = Object.freeze({
  id: '',
  name: '',
  queue: '',
  attempt: 0,
  tags: Object.freeze({}),
  signal: new AbortController().signal,
});

/**
 * Returns the context of the current task. Outside a task, returns a context with an empty id and a
 * signal that never aborts, so that you can test handlers as plain functions.
 */
export function taskContext(): TaskContext {
  return current.getStore()?.context ?? inert;
}

type Write = (text: string, fields?: object) => void;

/**
 * Writes a line to the log of the current task. Outside a task, it writes to the default logger.
 */
export interface TaskLog extends Write {
  (text: string, fields?: object): void;
  trace: Write;
  debug: Write;
  warn: Write;
  error: Write;
}

let outside: Logger | undefined;

function writer(level: LogLevel): Write {
  return (text, fields) => {
    const running = current.getStore();
    if (running) return running.log(level, text, fields);
    outside ??= loggerOption('logger', undefined);
    outside[level === 'trace' ? 'debug' : level](fields ?? {}, text);
  };
}

/**
 * Writes a line with level `info` to the log of the current task, which the dashboard shows live.
 * Use `taskLog.trace`, `.debug`, `.warn` and `.error` for the other levels.
 *
 * @example
 * ```ts
 * taskLog('sending', { address });
 * ```
 */
export const taskLog: TaskLog = Object.assign(writer('info'), {
  trace: writer('trace'),
  debug: writer('debug'),
  warn: writer('warn'),
  error: writer('error'),
});

/**
 * Reports the progress of the current task to the dashboard. Outside a task, it does nothing. You
 * can call it as often as you like: only the last value of each quarter of a second is stored.
 *
 * @param value From 0 to 1. A number outside this range is set to the nearer bound, and a warning
 * is logged once per task name.
 * @param text A text that describes the progress, such as `'1,200 of 3,000 rows'`.
 * @throws TypeError if the value is not a finite number, such as the `NaN` of `0 / 0`.
 */
export function taskProgress(value: number, text?: string): void {
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw wrongType('value of taskProgress', value, 'a number from 0 to 1');
  current.getStore()?.progress(value, text);
}
