import { AsyncLocalStorage } from 'node:async_hooks';
import { type Logger, loggerOption, wrongType } from '../options.js';
import type { LogLevel } from './types.js';

/** What a handler may know of the attempt it runs in. */
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

/** What `taskContext`, `taskLog` and `taskProgress` use of the attempt they are called in. */
export interface Running {
  readonly context: TaskContext;
  log(level: LogLevel, message: string, fields: object | undefined): void;
  progress(value: number, text: string | undefined): void;
}

const current = new AsyncLocalStorage<Running>();

/**
 * Calls a handler so that {@link taskLog} and {@link taskContext} belong to its task, however deep
 * they are called.
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
 * The context of the task this code runs in. Outside a task it is inert (an empty id, a signal that
 * never aborts), so that handlers can be tested as plain functions.
 */
export function taskContext(): TaskContext {
  return current.getStore()?.context ?? inert;
}

type Write = (text: string, fields?: object) => void;

/** Writes a line to the log of the task this code runs in; outside a task, to the logger. */
export interface TaskLog extends Write {
  (text: string, fields?: object): void;
  trace: Write;
  debug: Write;
  warn: Write;
  error: Write;
}

let outside: Logger | undefined;

function write(level: LogLevel, text: string, fields: object | undefined): void {
  const running = current.getStore();
  if (running) {
    running.log(level, text, fields);
    return;
  }
  outside ??= loggerOption('logger', undefined);
  outside[level === 'trace' ? 'debug' : level](fields ?? {}, text);
}

/**
 * Writes a line at `info` to the log of the running task, where the dashboard shows it live;
 * `taskLog.trace`, `.debug`, `.warn` and `.error` write at theirs.
 *
 * @example
 * ```ts
 * taskLog('sending', { address });
 * ```
 */
export const taskLog: TaskLog = Object.assign(
  ((text, fields) => write('info', text, fields)) as Write,
  {
    trace: ((text, fields) => write('trace', text, fields)) as Write,
    debug: ((text, fields) => write('debug', text, fields)) as Write,
    warn: ((text, fields) => write('warn', text, fields)) as Write,
    error: ((text, fields) => write('error', text, fields)) as Write,
  },
);

/**
 * Says how far the running task is, for the dashboard; outside a task it does nothing. Call it as
 * often as you like: what is stored is the last of a quarter of a second.
 *
 * @param value From 0 to 1. A number outside this range counts as the nearer end, and the log warns
 * once for each task name.
 * @param text What it is counted in, such as `'1,200 of 3,000 rows'`.
 * @throws TypeError if the value is not a finite number, such as the `NaN` of `0 / 0`.
 */
export function taskProgress(value: number, text?: string): void {
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw wrongType('value of taskProgress', value, 'a number from 0 to 1');
  current.getStore()?.progress(value, text);
}
