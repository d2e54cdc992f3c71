import { pathToFileURL } from 'node:url';
import type { Logger } from '../options.js';
import { encodeResult } from './arguments.js';
import { runInTask } from './context.js';
import { type Definition, retryDelay } from './definition.js';
import type { AttemptIo, AttemptResult, ClaimedTask, NewLogLine, StoredError, TaskRunner } from './engine.js';
import { fingerprint } from './fingerprint.js';
import type { LogLevel } from './types.js';

interface RunnerParts {
  concurrency: number;
  definitions: ReadonlyMap<string, Definition>;
  resultBytes: number;
  /** Log lines kept of a task. */
  logLines: number;
  logger: Logger;
}

/** A runner that an engine is started with; `changed` tells the engine that a handler was added. */
export interface HandlerRunner extends TaskRunner {
  changed(): void;
}

const messageLimit = 8 * 1024;
const stackLimit = 16 * 1024;

/** Runs attempts by calling the handlers of the definitions. */
export function handlerRunner({ concurrency, definitions, resultBytes, logLines, logger }: RunnerParts): HandlerRunner {
  let listener = (): void => {};

  return {
    concurrency,
    names: () => [...definitions.values()].filter((definition) => definition.handler).map(({ name }) => name),
    cancelGrace: (name) => definitions.get(name)?.settings.cancelGrace ?? 5,
    onChange: (added) => {
      listener = added;
    },
    changed: () => listener(),
    async run(task, io) {
      const { id, name, attempt } = task.summary;
      const definition = definitions.get(name);
      const started = performance.now();
      const result = await attemptOnce(definition, task, io, { resultBytes, logLines });
      const fields = { taskId: id, task: name, attempt, durationMs: Math.round(performance.now() - started) };
      if (result.status === 'success') logger.info(fields, 'task succeeded');
      else if (result.retryIn === undefined) logger.error({ ...fields, err: errorFields(result.error) }, 'task failed');
      else logger.warn({ ...fields, retryIn: result.retryIn, err: errorFields(result.error) }, 'task failed and will be retried');
      return result;
    },
  };
}

function errorFields({ name, message, fingerprint: kind }: StoredError): object {
  return { type: name, message: message.slice(0, 500), fingerprint: kind };
}

async function attemptOnce(
  definition: Definition | undefined,
  task: ClaimedTask,
  io: AttemptIo,
  limits: { resultBytes: number; logLines: number },
): Promise<AttemptResult> {
  const { id, name, attempt, queue, tags } = task.summary;
  const context = { id, name, queue, attempt, tags, signal: io.signal };
  try {
    if (!definition?.handler) throw new Error(`no handler for '${name}' in this process`);
    const { handler } = definition;
    const args = JSON.parse(task.args) as readonly unknown[];
    const value = await runInTask({ context, log: logWriter(task, io, limits.logLines) }, async () => handler(...args));
    return { status: 'success', ...encodeResult(value, limits.resultBytes) };
  } catch (thrown) {
    const settings = definition?.settings;
    const again = settings !== undefined && task.tryNumber <= settings.retries;
    return { status: 'failed', error: describeError(name, thrown), retryIn: again ? retryDelay(settings, task.tryNumber) : undefined };
  }
}

/** Numbers the lines of one attempt and stops at the limit, with a last line that says so. */
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
    if (n === limit) io.log({ n, at, level: 'warn', message: `only the first ${limit} lines of a task are kept`, fields: null });
    else io.log({ n, at, level, message: text(message).slice(0, messageLimit), fields: encodeFields(fields) });
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

/** Whatever a handler threw, as it is stored. Reading it must not throw in turn. */
function describeError(task: string, thrown: unknown): StoredError {
  const named = isErrorLike(thrown);
  const error = {
    name: named ? field(thrown, 'name', 'Error').slice(0, 200) : typeof thrown,
    message: (named ? field(thrown, 'message', '') : text(thrown)).slice(0, messageLimit),
    stack: named ? withoutRoot(field(thrown, 'stack', '')).slice(0, stackLimit) || null : null,
  };
  return { ...error, fingerprint: fingerprint(task, error) };
}

const root = process.cwd();
const rootUrl = pathToFileURL(root).href;

/** Paths from where the app runs: shorter to read, and the same on every machine. */
function withoutRoot(stack: string): string {
  return stack.replaceAll(`${rootUrl}/`, '').replaceAll(`${root}/`, '');
}

function isErrorLike(thrown: unknown): boolean {
  try {
    return thrown instanceof Error || (typeof thrown === 'object' && thrown !== null && 'message' in thrown);
  } catch {
    return false;
  }
}

function field(thrown: unknown, key: 'name' | 'message' | 'stack', fallback: string): string {
  try {
    const value = (thrown as Record<string, unknown>)[key];
    return value === undefined ? fallback : text(value);
  } catch {
    return fallback;
  }
}

function text(value: unknown): string {
  try {
    return String(value);
  } catch {
    return 'a value without text';
  }
}
