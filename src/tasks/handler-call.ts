import { isGeneratorObject } from 'node:util/types';
import { loggedError } from '../errors.js';
import type { Logger } from '../options.js';
import { decodeArguments, encodeResult } from './arguments.js';
import { type Running, runInTask, type TaskContext } from './context.js';
import type { Definition } from './definition.js';
import { describeError } from './describe-error.js';
import type { Cipher } from './encryption.js';
import { limitLine, logLine, textOf } from './log-line.js';
import type { RetryDecision } from './retrying.js';
import type { Settings } from './task-options.js';
import type {
  AttemptIo,
  AttemptResult,
  ClaimedTask,
  RunningAttempt,
  StoredEnd,
} from './task-runner.js';
import type { LogLevel } from './types.js';

/** The dependencies and limits that all attempts of a process share. */
export interface CallDeps {
  definitions: ReadonlyMap<string, Definition>;
  /** Maximum number of bytes of a result. */
  resultBytes: number;
  /** Maximum number of log lines of a task. */
  logLines: number;
  cipher: Cipher;
  logger: Logger;
  decide: RetryDecision;
  /** Called when a handler reports a progress that is not between 0 and 1. */
  outOfRange(task: ClaimedTask, progress: number): void;
}

/** Maximum number of characters of the text that comes with a progress. */
const labelLimit = 256;

/**
 * One attempt of a task. It calls the handler, limits its time and determines how it ended.
 * `taskLog`, `taskProgress` and `taskContext` use it while the handler runs.
 *
 * An attempt creates few objects: it has methods instead of closures, and creates the context only
 * when the handler reads it.
 */
export class HandlerCall implements RunningAttempt, Running {
  readonly result: Promise<AttemptResult>;
  readonly ended: Promise<unknown>;
  readonly #deps: CallDeps;
  readonly #task: ClaimedTask;
  readonly #io: AttemptIo;
  readonly #definition: Definition | undefined;
  readonly #started = performance.now();
  #context: TaskContext | undefined;
  #lineCount: number;
  /** How the attempt ended; `undefined` while that is not known. */
  #end: AttemptResult | undefined;
  #milliseconds: number | undefined;

  constructor(deps: CallDeps, task: ClaimedTask, io: AttemptIo) {
    this.#deps = deps;
    this.#task = task;
    this.#io = io;
    this.#definition = deps.definitions.get(task.name);
    this.#lineCount = task.logLines;
    const handled = this.#call();
    const limit = timeLimit(this.#definition?.settings, task);
    if (limit) {
      [this.result, this.ended] = this.#limited(handled, limit);
    } else {
      // One promise serves for both, because most attempts have no time limit.
      this.result = handled.then(
        (value) => this.#report(this.#succeed(value)),
        (thrown) => this.#report(this.#fail(thrown)),
      );
      this.ended = this.result;
    }
  }

  get context(): TaskContext {
    this.#context ??= contextOf(this.#task, this.#io);
    return this.#context;
  }

  log(level: LogLevel, message: string, fields: object | undefined): void {
    const { logLines } = this.#deps;
    if (this.#lineCount >= logLines) return;
    this.#lineCount += 1;
    this.#io.log(
      this.#lineCount < logLines ? logLine(level, message, fields) : limitLine(logLines),
    );
  }

  progress(value: number, text: string | undefined): void {
    if (value < 0 || value > 1) this.#deps.outOfRange(this.#task, value);
    const label = text === undefined ? null : textOf(text).slice(0, labelLimit);
    this.#io.progress(Math.min(1, Math.max(0, value)), label);
  }

  logEnd(stored: StoredEnd): void {
    const { logger } = this.#deps;
    const { id, name, attempt } = this.#task;
    const durationMs = Math.round(this.#milliseconds ?? performance.now() - this.#started);
    const fields = { taskId: id, task: name, attempt, durationMs };
    const end = this.#end;
    if (stored !== 'reported')
      logger.info({ ...fields, status: stored, reason: stopReason(stored) }, 'task stopped');
    else if (end?.status !== 'failed') logger.info(fields, 'task succeeded');
    else if (end.retryIn === undefined)
      logger.error({ ...fields, err: loggedError(end.error) }, 'task failed');
    else
      logger.warn(
        { ...fields, retryIn: end.retryIn, err: loggedError(end.error) },
        'task failed and will be retried',
      );
  }

  /**
   * Calls the handler. Not an async function, because that would add two promises to each attempt.
   */
  #call(): Promise<unknown> {
    const { name, args } = this.#task;
    try {
      const handler = this.#definition?.handler;
      if (!handler) throw new Error(`no handler for '${name}' in this process`);
      const decoded = decodeArguments(name, this.#deps.cipher.decrypt(args, name));
      return Promise.resolve(runInTask(this, handler, decoded));
    } catch (thrown) {
      return Promise.reject(thrown);
    }
  }

  /** Calls a handler with a time limit. Returns the promises of its result and of its end. */
  #limited(
    handled: Promise<unknown>,
    limit: TimeLimit,
  ): [Promise<AttemptResult>, Promise<unknown>] {
    let timer: NodeJS.Timeout | undefined;
    let overdue: DOMException | undefined;
    // If a handler throws after its time limit, its error is a consequence of the limit.
    const work = handled.then(
      (value) => this.#succeed(value),
      (thrown) => this.#fail(overdue ?? thrown),
    );
    // The timers need not keep the process alive. While an attempt runs, its engine does.
    const givenUp = new Promise<AttemptResult>((resolve) => {
      const giveUp = (): void => resolve(this.#fail(limit.error));
      const expire = (): void => {
        overdue = limit.error;
        this.#io.abort(overdue);
        timer = setTimeout(giveUp, graceOf(this.#definition) * 1000).unref();
      };
      timer = setTimeout(expire, limit.milliseconds).unref();
    });
    const result = Promise.race([work, givenUp]).then((end) => this.#report(end));
    return [result, work.then(() => clearTimeout(timer))];
  }

  #report(end: AttemptResult): AttemptResult {
    this.#end = end;
    this.#milliseconds = performance.now() - this.#started;
    return end;
  }

  #succeed(value: unknown): AttemptResult {
    if (isGenerator(value)) {
      const message =
        'the handler returned a generator, so its work was not done: return the result of ' +
        'iterating over it';
      return this.#fail(new TypeError(message));
    }
    const { name } = this.#task;
    const { resultBytes, cipher } = this.#deps;
    const encoded = encodeResult(value, resultBytes);
    if (encoded.result === undefined) return { status: 'success', ...encoded };
    return { status: 'success', result: cipher.encrypt(encoded.result, name) };
  }

  /**
   * Returns the result of a failed attempt. If the task is to be retried, it contains the delay.
   */
  #fail(thrown: unknown): AttemptResult {
    const { name, deadlineAt } = this.#task;
    const error = describeError(name, thrown);
    const retryIn =
      this.#definition && this.#deps.decide(this.#definition.settings, this.#task, thrown);
    const isLate =
      retryIn !== undefined &&
      deadlineAt !== undefined &&
      Date.now() + retryIn * 1000 >= deadlineAt;
    return { status: 'failed', error, retryIn: isLate ? undefined : retryIn };
  }
}

function contextOf({ id, name, queue, attempt, tags }: ClaimedTask, io: AttemptIo): TaskContext {
  return {
    id,
    name,
    queue,
    attempt,
    tags,
    get signal() {
      return io.signal;
    },
  };
}

interface TimeLimit {
  milliseconds: number;
  error: DOMException;
}

/** Maximum duration of a timer in milliseconds. With a longer one, setTimeout fires immediately. */
const longestTimer = 2 ** 31 - 1;

/** Seconds that a handler may take to end after its signal aborts. */
export function graceOf(definition: Definition | undefined): number {
  return Math.min(definition?.settings.cancelGrace ?? 5, longestTimer / 1000);
}

/**
 * Returns the time limit of an attempt: its timeout, or the time until the deadline of the task if
 * that is shorter.
 */
function timeLimit(
  settings: Settings | undefined,
  { deadlineAt }: ClaimedTask,
): TimeLimit | undefined {
  const timeout = (settings?.timeout ?? Number.POSITIVE_INFINITY) * 1000;
  const left = Math.max(0, (deadlineAt ?? Number.POSITIVE_INFINITY) - Date.now());
  const milliseconds = Math.min(timeout, left);
  if (milliseconds > longestTimer) return undefined;
  const message =
    left < timeout
      ? 'the deadline of the task passed'
      : `the attempt took longer than ${timeout / 1000} seconds`;
  return { milliseconds, error: new DOMException(message, 'TimeoutError') };
}

/** Returns why an attempt ended, if its own result did not end it. */
function stopReason(stored: Exclude<StoredEnd, 'reported'>): string {
  return stored === 'cancelled' ? 'the task was cancelled' : 'the process stops';
}

/** Returns whether a value is a generator. Its body runs only when it is iterated. */
function isGenerator(value: unknown): boolean {
  try {
    return (
      isGeneratorObject(value) ||
      Object.prototype.toString.call(value) === '[object AsyncGenerator]'
    );
  } catch {
    return false;
  }
}
