import { EmbeddedEngine } from './engines/embedded/engine.js';
import { type StatsOptions, statsOption } from './engines/stats-option.js';
import {
  type DurationWarning,
  durationWarnings,
  fileOption,
  type Logger,
  loggerOption,
  numberOption,
  optionsObject,
  secondsOption,
  typeError,
  wrongType,
} from './options.js';
import { secretKeysOption } from './secret-options.js';
import { type Cipher, createCipher } from './tasks/encryption.js';
import type { TaskEngine } from './tasks/engine.js';

/** Options of a {@link TaskManager} with any engine. */
interface CommonOptions {
  /** How many tasks this process runs at the same time, 1 to 10,000. Default 10. */
  concurrency?: number | undefined;
  /** Size limits. */
  limits?: TaskLimits | undefined;
  /**
   * Encrypts the stored arguments and results of tasks: at least 32 random characters, or a list of
   * such keys, of which the first one encrypts and all decrypt. Names, tags, idempotency keys,
   * errors and log lines are not encrypted. Default: nothing is encrypted.
   */
  encryptionKeys?: string | readonly string[] | undefined;
  /** The pino logger of the app, or `false` to log nothing. */
  logger?: Logger | false | undefined;
}

/** Options of a {@link TaskManager} with the embedded engine. */
export interface EmbeddedManagerOptions extends CommonOptions {
  engine?: undefined;
  /** Path of the SQLite file that stores the tasks, or `':memory:'`. Default `tasks.db`. */
  database?: string | undefined;
  /** For how many days an ended task is kept. Default: forever. */
  retentionDays?: number | undefined;
  /** How many ended tasks are kept. Default: all. */
  retentionCount?: number | undefined;
  /** For how long the statistics by minute and by hour are kept. */
  stats?: StatsOptions | undefined;
  /** Seconds between two checks for changes by other processes. Default 0.25. */
  pollInterval?: number | undefined;
}

/**
 * Options of a {@link TaskManager} with another engine. The factory of the engine has the options
 * for storage, retention and statistics.
 */
export interface EngineManagerOptions extends CommonOptions {
  /**
   * An engine instead of the embedded one, such as `bullmqEngine` returns. Each `TaskManager` needs
   * its own engine.
   */
  engine: TaskEngine;
  database?: undefined;
  retentionDays?: undefined;
  retentionCount?: undefined;
  stats?: undefined;
  pollInterval?: undefined;
}

/** Options of a {@link TaskManager}. */
export type TaskManagerOptions = EmbeddedManagerOptions | EngineManagerOptions;

/** Size limits of a task. */
export interface TaskLimits {
  /** Bytes of the arguments as JSON. Default 1 MiB. `enqueue` refuses larger arguments. */
  argsBytes?: number | undefined;
  /**
   * Bytes of a result as JSON. Default 1 MiB. A larger result is not stored, see `resultOmitted`.
   */
  resultBytes?: number | undefined;
  /** How many log lines of a task are kept. Default 10,000. */
  logLines?: number | undefined;
}

/** Options of `start`. */
export interface StartOptions {
  /** Whether this process runs tasks. With `false`, it only enqueues and shows. Default `true`. */
  run?: boolean | undefined;
}

/** Options of `stop`. */
export interface StopOptions {
  /** Seconds to wait for running tasks. Default 10. */
  timeout?: number | undefined;
}

const mebibyte = 1024 * 1024;

/** The checked options of a manager. */
export interface ManagerSettings {
  engine: TaskEngine;
  concurrency: number;
  argsBytes: number;
  resultBytes: number;
  logLines: number;
  cipher: Cipher;
  logger: Logger;
  /** Whether the app asked for silence. */
  silent: boolean;
  warn: DurationWarning;
}

/**
 * Checks the options of a `TaskManager`. @throws TypeError or RangeError with code INVALID_INPUT.
 */
export function readManagerOptions(options: TaskManagerOptions | undefined): ManagerSettings {
  const given = optionsObject<TaskManagerOptions>('TaskManager', options, [
    'database',
    'engine',
    'concurrency',
    'limits',
    'encryptionKeys',
    'retentionDays',
    'retentionCount',
    'stats',
    'pollInterval',
    'logger',
  ]);
  const limits = optionsObject<TaskLimits>('limits', given.limits, [
    'argsBytes',
    'resultBytes',
    'logLines',
  ]);
  const logger = loggerOption('logger', given.logger);
  const warn = durationWarnings(logger);
  const settings = {
    concurrency: numberOption('concurrency', given.concurrency, 10, {
      min: 1,
      max: 10_000,
      integer: true,
    }),
    argsBytes: numberOption('limits.argsBytes', limits.argsBytes, mebibyte, {
      min: 2,
      max: 64 * mebibyte,
      integer: true,
      unit: 'bytes',
    }),
    resultBytes: numberOption('limits.resultBytes', limits.resultBytes, mebibyte, {
      max: 64 * mebibyte,
      integer: true,
      unit: 'bytes',
    }),
    logLines: numberOption('limits.logLines', limits.logLines, 10_000, {
      min: 1,
      max: 1_000_000,
      integer: true,
    }),
    cipher: createCipher(
      given.encryptionKeys === undefined
        ? []
        : secretKeysOption('encryptionKeys', given.encryptionKeys),
    ),
    logger,
    silent: given.logger === false,
    warn,
  };
  return { ...settings, engine: engineOf(given, logger, warn) };
}

/** Options of the embedded engine alone: the factories of other engines have their own. */
const embeddedOptions = ['retentionDays', 'retentionCount', 'stats', 'pollInterval'] as const;

/** The engines that have a manager. An engine starts and stops with its manager. */
const managed = new WeakSet<TaskEngine>();

function engineOf(options: TaskManagerOptions, logger: Logger, warn: DurationWarning): TaskEngine {
  const { database, engine, pollInterval, retentionDays, retentionCount, stats } = options;
  if (engine !== undefined) {
    if (database !== undefined)
      throw typeError('database and engine cannot be combined; an engine has its own storage');
    if (typeof engine !== 'object' || engine === null || typeof engine.enqueue !== 'function')
      throw wrongType(
        'engine',
        engine,
        'a TaskEngine, such as bullmqEngine({ connection }) returns',
      );
    const misplaced = embeddedOptions.find((option) => options[option] !== undefined);
    if (misplaced !== undefined) throw misplacedOption(misplaced);
    if (managed.has(engine))
      throw typeError(
        'engine belongs to another TaskManager, which ends it when it stops; ' +
          'make an engine for each TaskManager, such as bullmqEngine({ connection })',
      );
    managed.add(engine);
    return engine;
  }
  return new EmbeddedEngine({
    database: fileOption('database', database, 'tasks.db'),
    logger,
    pollInterval: secondsOption('pollInterval', pollInterval, 0.25, { warn }),
    retention: {
      age:
        retentionDays === undefined
          ? undefined
          : numberOption('retentionDays', retentionDays, 0, {
              above: true,
              max: 36_500,
              unit: 'days',
            }) * 86_400_000,
      count: numberOption('retentionCount', retentionCount, undefined, { integer: true }),
      statistics: statsOption(stats),
    },
  });
}

function misplacedOption(option: (typeof embeddedOptions)[number]): TypeError {
  const advice =
    option === 'pollInterval'
      ? 'leave it out'
      : `give ${option} to the factory of the engine, such as bullmqEngine({ connection, ` +
        `${option} })`;
  return typeError(
    `${option} and engine cannot be combined; ${option} is an option of the embedded engine: ` +
      `${advice}`,
  );
}
