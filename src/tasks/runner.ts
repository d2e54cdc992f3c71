import { isGeneratorObject } from 'node:util/types';
import { runInEmptyContext } from '../empty-context.js';
import { loggedError } from '../errors.js';
import type { Logger } from '../options.js';
import { decodeArguments, encodeResult } from './arguments.js';
import { runInTask } from './context.js';
import type { Definition, Settings } from './definition.js';
import { describeError } from './describe-error.js';
import type { AttemptIo, AttemptResult, ClaimedTask, NewLogLine, StoredEnd, TaskRoute, TaskRunner } from './engine.js';
import { type RetryDecision, retryDecision } from './retrying.js';
import type { Sealer } from './sealing.js';
import type { LogLevel } from './types.js';

interface RunnerParts {
  concurrency: number;
  definitions: ReadonlyMap<string, Definition>;
  resultBytes: number;
  /** Log lines kept of a task. */
  logLines: number;
  sealer: Sealer;
  logger: Logger;
}

/** A runner that an engine is started with; `changed` tells the engine that a handler was added. */
export interface HandlerRunner extends TaskRunner {
  changed(): void;
}

const messageLimit = 8 * 1024;
const labelLimit = 256;

/** Runs attempts by calling the handlers of the definitions. */
export function handlerRunner({ concurrency, definitions, resultBytes, logLines, sealer, logger }: RunnerParts): HandlerRunner {
  let listener = (): void => {};
  let routes: readonly TaskRoute[] | undefined;
  let names: ReadonlyMap<string, number | undefined> | undefined;
  const routesHere = (): readonly TaskRoute[] => {
    routes ??= [...definitions.values()]
      .filter(({ handler }) => handler)
      .map(({ name, settings: { queue, priority, concurrency } }) => ({ name, queue, priority, concurrency }));
    return routes;
  };
  const decide = retryDecision(logger);
  const outOfRange = progressWarnings(logger);

  const logEnd = ({ id, name, attempt }: ClaimedTask, stored: StoredEnd, { result, milliseconds }: Ended): void => {
    const fields = { taskId: id, task: name, attempt, durationMs: Math.round(milliseconds) };
    if (stored !== 'reported') logger.info({ ...fields, status: stored, reason: stopReason(stored) }, 'task stopped');
    else if (result?.status !== 'failed') logger.info(fields, 'task succeeded');
    else if (result.retryIn === undefined) logger.error({ ...fields, err: loggedError(result.error) }, 'task failed');
    else logger.warn({ ...fields, retryIn: result.retryIn, err: loggedError(result.error) }, 'task failed and will be retried');
  };

  const run: TaskRunner['run'] = (task, io) => {
    const definition = definitions.get(task.name);
    const started = performance.now();
    let end: Ended | undefined;
    const report = (result: AttemptResult): AttemptResult => {
      end = { result, milliseconds: performance.now() - started };
      return result;
    };
    const log = (stored: StoredEnd): void => logEnd(task, stored, end ?? { milliseconds: performance.now() - started });
    const fail = (thrown: unknown): AttemptResult => failure(definition, task, thrown, decide);
    const succeed = (value: unknown): AttemptResult =>
      isGenerator(value)
        ? fail(new TypeError('the handler returned a generator, so its work was not done: return the result of iterating over it'))
        : { status: 'success', ...sealResult(encodeResult(value, resultBytes), task.name, sealer) };
    const handled = callHandler(definition, task, io, { logLines, sealer, outOfRange });
    const limit = timeLimit(definition?.settings, task);
    if (!limit) {
      // One promise for both outcomes, because most attempts take this path.
      const result = handled.then(
        (value) => report(succeed(value)),
        (thrown) => report(fail(thrown)),
      );
      return { result, ended: result, logEnd: log };
    }
    let overdue: DOMException | undefined;
    // An error that a handler throws after its time limit is a consequence of the limit.
    const work = handled.then(succeed, (thrown) => fail(overdue ?? thrown));
    const ended = work.then(() => clearTimeout(limit.timer));
    // The timers need not keep the process alive: while an attempt runs, its engine does.
    const givenUp = new Promise<AttemptResult>((resolve) => {
      const giveUp = (): void => resolve(fail(limit.error));
      const expire = (): void => {
        overdue = limit.error;
        io.abort(overdue);
        limit.timer = setTimeout(giveUp, graceOf(definition) * 1000).unref();
      };
      limit.timer = setTimeout(expire, limit.milliseconds).unref();
    });
    return { result: Promise.race([work, givenUp]).then(report), ended, logEnd: log };
  };

  return {
    concurrency,
    names() {
      names ??= new Map(routesHere().map(({ name, concurrency }) => [name, concurrency]));
      return names;
    },
    routes: routesHere,
    cancelGrace: (name) => graceOf(definitions.get(name)),
    onChange: (added) => {
      listener = added;
    },
    changed: () => {
      routes = names = undefined;
      listener();
    },
    run: (task, io) => runInEmptyContext(() => run(task, io)),
  };
}

/** How an attempt ended. The result is missing if its handler still runs. */
interface Ended {
  result?: AttemptResult;
  milliseconds: number;
}

interface TimeLimit {
  milliseconds: number;
  error: DOMException;
  timer?: NodeJS.Timeout;
}

/** Milliseconds; setTimeout fires at once past this. */
const longestTimer = 2 ** 31 - 1;

/** Seconds that a handler may take to end after its signal aborts. */
function graceOf(definition: Definition | undefined): number {
  return Math.min(definition?.settings.cancelGrace ?? 5, longestTimer / 1000);
}

/** What is left for an attempt: its own time-out, or what remains until the task's deadline where that is less. */
function timeLimit(settings: Settings | undefined, { deadlineAt }: ClaimedTask): TimeLimit | undefined {
  const timeout = settings?.timeout === undefined ? Number.POSITIVE_INFINITY : settings.timeout * 1000;
  const left = deadlineAt === undefined ? Number.POSITIVE_INFINITY : Math.max(0, deadlineAt - Date.now());
  const milliseconds = Math.min(timeout, left);
  if (milliseconds > longestTimer) return undefined;
  const message = left < timeout ? 'the deadline of the task passed' : `the attempt took longer than ${timeout / 1000} seconds`;
  return { milliseconds, error: new DOMException(message, 'TimeoutError') };
}

/** A failed attempt, and whether and when there will be another. */
function failure(definition: Definition | undefined, task: ClaimedTask, thrown: unknown, decide: RetryDecision): AttemptResult {
  const error = describeError(task.name, thrown);
  const retryIn = definition && decide(definition.settings, task, thrown);
  const late = retryIn !== undefined && task.deadlineAt !== undefined && Date.now() + retryIn * 1000 >= task.deadlineAt;
  return { status: 'failed', error, retryIn: late ? undefined : retryIn };
}

function sealResult<R extends { result?: string }>(encoded: R, task: string, sealer: Sealer): R {
  return encoded.result === undefined ? encoded : { ...encoded, result: sealer.seal(encoded.result, task) };
}

/** Calls the handler. Not an async function, because that would cost each attempt two promises more. */
function callHandler(...call: Parameters<typeof startHandler>): Promise<unknown> {
  try {
    return Promise.resolve(startHandler(...call));
  } catch (thrown) {
    return Promise.reject(thrown);
  }
}

function startHandler(
  definition: Definition | undefined,
  task: ClaimedTask,
  io: AttemptIo,
  { logLines, sealer, outOfRange }: Pick<RunnerParts, 'logLines' | 'sealer'> & { outOfRange: ProgressWarning },
): unknown {
  const { id, name, attempt, queue, tags } = task;
  if (!definition?.handler) throw new Error(`no handler for '${name}' in this process`);
  const { handler } = definition;
  const args = decodeArguments(name, sealer.open(task.args, name));
  const context = {
    id,
    name,
    queue,
    attempt,
    tags,
    get signal() {
      return io.signal;
    },
  };
  const progress = (value: number, label: string | undefined): void => {
    if (value < 0 || value > 1) outOfRange(task, value);
    io.progress(Math.min(1, Math.max(0, value)), label === undefined ? null : text(label).slice(0, labelLimit));
  };
  return runInTask({ context, log: logWriter(task, io, logLines), progress }, () => handler(...args));
}

/** Why an attempt ended other than by its own result. */
function stopReason(stored: Exclude<StoredEnd, 'reported'>): string {
  return stored === 'cancelled' ? 'the task was cancelled' : 'the process stops';
}

type ProgressWarning = (task: ClaimedTask, value: number) => void;

/** Warns once for each task name: a handler that counts to 100 would look finished from its second step on. */
function progressWarnings(logger: Logger): ProgressWarning {
  const warned = new Set<string>();
  return ({ id, name }, value) => {
    if (warned.has(name)) return;
    warned.add(name);
    logger.warn({ taskId: id, task: name, value }, 'taskProgress takes a number from 0 to 1');
  };
}

/** Whether a handler returned a generator, whose body runs only when it is iterated over. */
function isGenerator(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  try {
    return isGeneratorObject(value) || Object.prototype.toString.call(value) === '[object AsyncGenerator]';
  } catch {
    return false;
  }
}

/** Stops at the limit of a task's lines, with a last one that says so. */
function logWriter(
  task: ClaimedTask,
  io: AttemptIo,
  limit: number,
): (level: LogLevel, message: string, fields: object | undefined) => void {
  let n = task.logLines;
  return (level, message, fields) => {
    if (n >= limit) return;
    n += 1;
    const at = Date.now();
    if (n === limit) io.log({ at, level: 'warn', message: `only the first ${limit} lines of a task are kept`, fields: null });
    else io.log({ at, level, message: text(message).slice(0, messageLimit), fields: encodeFields(fields) });
  };
}

function encodeFields(fields: object | undefined): NewLogLine['fields'] {
  if (fields === undefined || fields === null) return null;
  try {
    const encoded = JSON.stringify(fields, (_key, value: unknown) => {
      if (typeof value === 'bigint') return String(value);
      return value instanceof Error ? { name: value.name, message: value.message } : value;
    });
    if (encoded === undefined || encoded[0] !== '{')
      return JSON.stringify({ value: encoded === undefined ? text(fields) : JSON.parse(encoded) });
    return encoded.length > messageLimit ? JSON.stringify({ omitted: `fields of ${encoded.length} characters` }) : encoded;
  } catch {
    return JSON.stringify({ omitted: 'fields that JSON cannot carry' });
  }
}

/** The text of any value. SQLite ends text at a NUL, so NUL characters are replaced. */
function text(value: unknown): string {
  try {
    return String(value).replaceAll('\0', '\ufffd');
  } catch {
    return 'a value without text';
  }
}
