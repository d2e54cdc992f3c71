import {
  booleanOption,
  type DurationWarning,
  numberOption,
  optionsObject,
  rangeError,
  secondsOption,
  stringOption,
  wrongType,
} from '../options.js';
import { functionKind } from '../show-value.js';

/** Says how many seconds to wait before a retry. */
export type Backoff = (tryNumber: number, error: unknown) => number;

/** Options of a task's definition. */
export interface TaskOptions {
  /** How often a failed attempt is tried again. Default 0. */
  retries?: number | undefined;
  /** Seconds before the first retry. Default 0. */
  delay?: number | undefined;
  /**
   * Each further retry waits this many times as long. Default 1. Or a function of the number of the
   * try that failed, from 1, and of what it threw, which returns the seconds to wait.
   */
  backoff?: number | Backoff | undefined;
  /** Seconds that no wait before a retry exceeds. Default a day. */
  maxDelay?: number | undefined;
  /**
   * Share of each wait that is left to chance, 0 to 1, so that tasks which failed together are not
   * tried together. Default 0.
   */
  jitter?: number | undefined;
  /** Whether an error is worth another try. Default: every one is. */
  retryOn?: ((error: unknown) => boolean) | undefined;
  /**
   * Seconds an attempt may take; then its signal is aborted, and it fails with a `TimeoutError`.
   * Default: none.
   */
  timeout?: number | undefined;
  /**
   * Seconds after its time to start within which a task must be done: later it is not started, and
   * not tried again. Default: none.
   */
  deadline?: number | undefined;
  /**
   * Tasks of this name that run at once, over all processes on the database, 1 to 10,000. Give it
   * in every process that enqueues or runs the task: with `bullmqEngine`, the process that enqueues
   * a task decides. Default: as many as the processes allow.
   */
  concurrency?: number | undefined;
  /** Label the tasks are grouped by. Default `'default'`. */
  queue?: string | undefined;
  /** Larger goes first. Default 0. */
  priority?: number | undefined;
  /** Shown with the task, for finding it. At most 32, each up to 256 characters. */
  tags?: Readonly<Record<string, string>> | undefined;
  /** Whether a task whose process died may run again; else it is `interrupted`. Default `false`. */
  requeueOnInterrupt?: boolean | undefined;
  /** How often it may, so that a task which kills its process ends. Default 3. */
  maxInterrupts?: number | undefined;
  /**
   * Seconds a task that was cancelled or timed out may take to end before it is recorded as such
   * anyway. Default 5.
   */
  cancelGrace?: number | undefined;
}

/** Options of one call; each goes before the one of the definition. */
export interface EnqueueOptions {
  /** Not before this time. */
  runAt?: Date | undefined;
  /** Not before so many seconds from now. */
  runIn?: number | undefined;
  priority?: number | undefined;
  queue?: string | undefined;
  /** Added to those of the definition. */
  tags?: Readonly<Record<string, string>> | undefined;
  /** As in the definition. */
  deadline?: number | undefined;
  /**
   * Names the piece of work: a second task of the same name with this key is not stored, and
   * `enqueue` resolves to the id of the first. A cancelled task gives its key back. 1 to 256
   * characters, stored as they are even with `encryptionKeys`: if the key is made of personal data,
   * give a hash of it.
   */
  idempotencyKey?: string | undefined;
  /** Seconds a key is taken from when it was used. Default 86,400, a day. */
  idempotencyWindow?: number | undefined;
}

/** Task options, each with its value. */
export interface Settings {
  retries: number;
  delay: number;
  backoff: number | Backoff;
  maxDelay: number;
  jitter: number;
  retryOn: ((error: unknown) => boolean) | undefined;
  timeout: number | undefined;
  deadline: number | undefined;
  concurrency: number | undefined;
  queue: string;
  priority: number;
  tags: Readonly<Record<string, string>>;
  requeueOnInterrupt: boolean;
  maxInterrupts: number;
  cancelGrace: number;
}

const label = {
  pattern: /^[^\p{Cc}\p{Cs}]{1,128}$/u,
  accepted: 'a string of 1 to 128 printable characters',
  maxLength: 128,
};

/** No storage can keep half of a surrogate pair, so different values would count as one. */
const tagText = /^\P{Cs}*$/u;

/**
 * Reads a name of a task or schedule, the first argument of a call such as `usage`; it is required.
 */
export function nameOption(option: string, value: unknown, usage: string): string {
  if (typeof value !== 'string') throw wrongType(option, value, `a string, as in ${usage}`);
  return stringOption(option, value, '', label);
}

/** Reads a priority: a whole number of at most a million either way. */
export function priorityOption(value: unknown, fallback: number, of = ''): number {
  return numberOption(`priority${of}`, value, fallback, {
    min: -1_000_000,
    max: 1_000_000,
    integer: true,
  });
}

/** Reads the name of a queue. */
export function queueOption(value: unknown, fallback: string, of = ''): string {
  return stringOption(`queue${of}`, value, fallback, label);
}

/** Reads tags: at most 32 strings by key. */
export function tagsOption(value: unknown, of = ''): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrongType(`tags${of}`, value, "an object of strings, such as { tenant: '7' }");
  const tags = Object.entries(value);
  if (tags.length > 32)
    throw rangeError(`tags${of} has ${tags.length} members; at most 32 are allowed`);
  for (const [key, text] of tags) {
    if (!label.pattern.test(key)) throw wrongType(`a key of tags${of}`, key, label.accepted);
    if (typeof text !== 'string' || text.length > 256 || !tagText.test(text))
      throw wrongType(
        `tags.${key}${of}`,
        text,
        'a string of at most 256 characters without unpaired surrogates',
      );
  }
  return Object.freeze(Object.fromEntries(tags));
}

const known = [
  'retries',
  'delay',
  'backoff',
  'maxDelay',
  'jitter',
  'retryOn',
  'timeout',
  'deadline',
  'concurrency',
  'queue',
  'priority',
  'tags',
  'requeueOnInterrupt',
  'maxInterrupts',
  'cancelGrace',
] as const;

const year = 31_536_000;
const day = 86_400;

/** Checks a definition's options and fills in the defaults. */
export function readSettings(
  name: string,
  options: TaskOptions | undefined,
  warn: DurationWarning = () => undefined,
): Settings {
  const where = `task '${name}'`;
  const given = optionsObject<TaskOptions>(where, options, known);
  const suffix = ` of ${where}`;
  const of = (option: keyof TaskOptions): string => option + suffix;
  const { backoff } = given;
  return {
    retries: numberOption(of('retries'), given.retries, 0, { max: 1000, integer: true }),
    delay: secondsOption(of('delay'), given.delay, 0, { warn, zero: true, max: year }),
    backoff:
      typeof backoff === 'function'
        ? plainFunctionOption(
            of('backoff'),
            backoff,
            'a number from 1 to 100, or a function that returns a number of seconds at once',
          )
        : numberOption(of('backoff'), backoff, 1, {
            min: 1,
            max: 100,
            or: 'a function that returns a number of seconds',
          }),
    maxDelay: secondsOption(of('maxDelay'), given.maxDelay, Math.max(day, given.delay ?? 0), {
      warn,
      zero: true,
      max: year,
    }),
    jitter: numberOption(of('jitter'), given.jitter, 0, { max: 1 }),
    retryOn: plainFunctionOption(
      of('retryOn'),
      given.retryOn,
      'a function that takes the error and returns true or false, such as (error) => error ' +
        'instanceof TypeError',
    ),
    timeout: secondsOption(of('timeout'), given.timeout, undefined, { warn }),
    deadline: secondsOption(of('deadline'), given.deadline, undefined, { warn }),
    concurrency: numberOption(of('concurrency'), given.concurrency, undefined, {
      min: 1,
      max: 10_000,
      integer: true,
    }),
    queue: queueOption(given.queue, 'default', suffix),
    priority: priorityOption(given.priority, 0, suffix),
    tags: tagsOption(given.tags, suffix),
    requeueOnInterrupt: booleanOption(of('requeueOnInterrupt'), given.requeueOnInterrupt, false),
    maxInterrupts: numberOption(of('maxInterrupts'), given.maxInterrupts, 3, {
      max: 1000,
      integer: true,
    }),
    cancelGrace: secondsOption(of('cancelGrace'), given.cancelGrace, 5, { warn }),
  };
}

/** A function that returns its answer at once; an async one would always answer with a promise. */
function plainFunctionOption<F>(option: string, value: F, accepted: string): F {
  if (value === undefined) return value;
  if (typeof value !== 'function' || functionKind(value) !== 'a function')
    throw wrongType(option, value, accepted);
  return value;
}
