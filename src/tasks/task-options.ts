import {
  flag,
  type Named,
  number,
  type Option,
  type OptionsOf,
  optionSet,
  type SettingsOf,
  seconds,
  text,
  whole,
} from '../option-set.js';
import {
  type DurationWarning,
  rangeError,
  stringOption,
  typeError,
  wrongType,
} from '../options.js';
import { membersOf, readFrom } from '../options-object.js';
import { functionKind, grouped, safeText } from '../show-value.js';

/** Says how many seconds to wait before a retry. */
export type Backoff = (tryNumber: number, error: unknown) => number;

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

const priority = { min: -1_000_000, max: 1_000_000 };

type Tags = Readonly<Record<string, string>>;

/** Reads tags: at most 32 strings by key. */
function tags(name: string, value: Tags | undefined): Tags {
  if (value === undefined) return {};
  const members = membersOf(name, value);
  if (!members) throw wrongType(name, value, "an object of strings, such as { tenant: '7' }");
  const keys = [...members].flatMap(([key, isData]) => (isData ? [key] : []));
  const entries = keys.map((key): [string, unknown] => [key, readFrom(name, () => value[key])]);
  if (entries.length > 32)
    throw rangeError(`${name} has ${grouped(entries.length)} members; at most 32 are allowed`);
  for (const [key, member] of entries) {
    if (!label.pattern.test(key)) throw wrongType(`a key of ${name}`, key, label.accepted);
    if (typeof member !== 'string' || member.length > 256 || !tagText.test(member))
      throw wrongType(
        name.replace('tags', () => `tags.${safeText(key)}`),
        member,
        'a string of at most 256 characters without unpaired surrogates',
      );
  }
  return Object.freeze(Object.fromEntries(entries)) as Tags;
}

/** Reads a function that returns its answer at once; an async one always returns a promise. */
function plainFunction<F>(name: string, value: F, accepted: string): F {
  if (value === undefined) return value;
  if (typeof value !== 'function' || functionKind(value) !== 'a function')
    throw wrongType(name, value, accepted);
  return value;
}

const factor: Option<number, number> = number({
  default: 1,
  min: 1,
  max: 100,
  or: 'a function that returns a number of seconds',
});

const year = 31_536_000;
const day = 86_400;

const taskOptions = optionSet({
  /** How often a failed attempt is retried. Default 0. */
  retries: whole({ default: 0, max: 1000 }),
  /** Seconds before the first retry. Default 0. */
  delay: seconds({ default: 0, zero: true, max: year }),
  /**
   * The factor by which the delay grows with each further retry. Default 1. Or a function that
   * takes the number of the failed attempt, from 1, and its error, and returns the seconds to wait.
   */
  backoff: (name, value: number | Backoff | undefined, warn) =>
    typeof value === 'function'
      ? plainFunction(
          name,
          value,
          'a number from 1 to 100, or a function that returns a number of seconds at once',
        )
      : factor(name, value, warn),
  /** Maximum seconds before a retry. Default a day, or `delay` if that is longer. */
  maxDelay: seconds({ zero: true, max: year }),
  /**
   * Share of each delay that is random, 0 to 1, so that tasks that failed together are not retried
   * together. Default 0.
   */
  jitter: number({ default: 0, max: 1 }),
  /** Returns whether the task is retried after an error. Default: every error. */
  retryOn: (name, value: ((error: unknown) => boolean) | undefined) =>
    plainFunction(
      name,
      value,
      'a function that takes the error and returns true or false, such as (error) => error ' +
        'instanceof TypeError',
    ),
  /**
   * Seconds that an attempt may take. Then its signal is aborted, and it fails with a
   * `TimeoutError`. Default: none.
   */
  timeout: seconds(),
  /**
   * Seconds after its start time until which a task may start or be retried. Default: none.
   */
  deadline: seconds(),
  /**
   * Maximum number of tasks of this name that run at once in all processes together, 1 to 10,000.
   * Set it in every process that enqueues or runs the task: with `bullmqEngine`, the process that
   * enqueues a task decides. Default: no limit.
   */
  concurrency: whole({ min: 1, max: 10_000 }),
  /** Label by which tasks are grouped and paused. Default `'default'`. */
  queue: text({ default: 'default', ...label }),
  /** A task with a higher priority runs first. Default 0. */
  priority: whole({ default: 0, ...priority }),
  /** Labels to show and to search for. At most 32, each with at most 256 characters. */
  tags,
  /**
   * Whether a task may run again if its process dies. Otherwise it becomes `interrupted`. Default
   * `false`.
   */
  requeueOnInterrupt: flag(false),
  /** How often an interrupted task may run again. Default 3. */
  maxInterrupts: whole({ default: 3, max: 1000 }),
  /**
   * Seconds that a handler may take to end after its task was cancelled or timed out. Then the
   * attempt is given up. Default 5.
   */
  cancelGrace: seconds({ default: 5 }),
});

/** Options of a task's definition. */
export interface TaskOptions extends OptionsOf<typeof taskOptions>, Named {}

/** Task options, each with its value. */
export interface Settings extends SettingsOf<typeof taskOptions> {
  maxDelay: number;
}

/** Checks a definition's options and fills in the defaults. */
export function readSettings(
  name: string,
  options: TaskOptions | undefined,
  warn?: DurationWarning,
): Settings {
  const where = `task '${name}'`;
  const settings = taskOptions.read(options, { where, suffix: ` of ${where}`, warn });
  return { ...settings, maxDelay: settings.maxDelay ?? Math.max(day, settings.delay) };
}

/**
 * SQLite ends text at a NUL and cannot store half of a surrogate pair, so different keys would
 * count as one.
 */
const keyRules = {
  pattern: /^[^\0\p{Cs}]+$/u,
  accepted: 'a string of 1 to 256 characters without NUL characters or unpaired surrogates',
};

const callOptions = optionSet({
  /** The earliest start time. */
  runAt: (name, value: Date | undefined) => {
    if (value === undefined) return undefined;
    if (!(value instanceof Date) || Number.isNaN(value.getTime()))
      throw wrongType(name, value, "a valid Date, such as new Date('2030-01-31T12:00:00Z')");
    return value.getTime();
  },
  /** Seconds from now until the earliest start. */
  runIn: seconds({ zero: true }),
  /** Overrides the priority of the definition. */
  priority: whole(priority),
  /** Overrides the queue of the definition. */
  queue: text(label),
  /** Added to the tags of the definition. */
  tags,
  /** Overrides the deadline of the definition, in seconds. */
  deadline: seconds(),
  /**
   * Names the piece of work: a second task of the same name with this key is not stored, and
   * `enqueue` resolves to the id of the first. A cancelled task frees its key. 1 to 256
   * characters. The key is stored unencrypted even with `encryptionKeys`: if it contains personal
   * data, pass a hash of it.
   */
  idempotencyKey: text(keyRules),
  /** Seconds for which a key stays taken after its use. Default 86,400, a day. */
  idempotencyWindow: seconds({ default: day }),
});

/** Options of one call. Each overrides the option of the definition. */
export interface EnqueueOptions extends OptionsOf<typeof callOptions>, Named {}

/** Options of one call, checked once for any number of tasks. Times are Unix milliseconds. */
export interface CallSettings extends SettingsOf<typeof callOptions> {}

/**
 * Checks the options of `with` of a task.
 * @throws TypeError or RangeError for a wrong one.
 */
export function readCallSettings(
  options: EnqueueOptions,
  task: string,
  warn?: DurationWarning,
): CallSettings {
  const suffix = ` of task '${task}'`;
  const settings = callOptions.read(options, { where: 'with()', suffix, warn });
  if (settings.runAt !== undefined && settings.runIn !== undefined)
    throw typeError(`runAt and runIn${suffix} cannot be combined; give one of them`);
  if (settings.idempotencyKey === undefined && options?.idempotencyWindow !== undefined)
    throw typeError(`idempotencyWindow${suffix} needs an idempotencyKey`);
  return settings;
}
