import { createEmbeddedEngine } from './engines/embedded/engine.js';
import { statsOption } from './engines/stats-option.js';
import {
  flag,
  type Named,
  number,
  type OptionsOf,
  optionSet,
  type SettingsOf,
  seconds,
  whole,
} from './option-set.js';
import {
  type DurationWarning,
  durationWarnings,
  fileOption,
  loggerOption,
  typeError,
  wrongKind,
} from './options.js';
import { secretKeysOption } from './secret-options.js';
import { type Cipher, createCipher } from './tasks/encryption.js';
import type { TaskEngine } from './tasks/engine.js';

const mebibyte = 1024 * 1024;
const jsonBytes = { default: mebibyte, max: 64 * mebibyte, unit: 'bytes' };

const taskLimits = optionSet({
  /** Bytes of the arguments as JSON. Default 1 MiB. `enqueue` refuses larger arguments. */
  argsBytes: whole({ ...jsonBytes, min: 2 }),
  /**
   * Bytes of a result as JSON. Default 1 MiB. A larger result is not stored, see `resultOmitted`.
   */
  resultBytes: whole(jsonBytes),
  /** How many log lines of a task are kept. Default 10,000. */
  logLines: whole({ default: 10_000, min: 1, max: 1_000_000 }),
});

/** Size limits of a task. */
export interface TaskLimits extends OptionsOf<typeof taskLimits>, Named {}

const commonOptions = optionSet({
  /** How many tasks this process runs at the same time, 1 to 10,000. Default 10. */
  concurrency: whole({ default: 10, min: 1, max: 10_000 }),
  /** Size limits. */
  limits: (name, value: TaskLimits | undefined, warn) => taskLimits.nested(name, value, warn),
  /**
   * Encrypts the stored arguments and results of tasks: at least 32 random characters, or a list of
   * such keys, of which the first one encrypts and all decrypt. Names, tags, idempotency keys,
   * errors and log lines are not encrypted. Default: nothing is encrypted.
   */
  encryptionKeys: secretKeysOption,
  /** The pino logger of the app, or `false` to log nothing. */
  logger: loggerOption,
});

/** Options of the embedded engine alone: the factories of other engines have their own. */
const embeddedOptions = optionSet({
  /** Path of the SQLite file that stores the tasks, or `':memory:'`. Default `tasks.db`. */
  database: (name, value: string | undefined) => fileOption(name, value, 'tasks.db'),
  /** For how many days an ended task is kept. Default: forever. */
  retentionDays: number({ above: true, max: 36_500, unit: 'days' }),
  /** How many ended tasks are kept. Default: all. */
  retentionCount: whole(),
  /** For how long the statistics by minute and by hour are kept. */
  stats: statsOption,
  /** Seconds between two checks for changes by other processes. Default 0.25. */
  pollInterval: seconds({ default: 0.25 }),
});

const managerOptions = optionSet({
  ...embeddedOptions.rows,
  engine: (_name, value: TaskEngine | undefined) => value,
  ...commonOptions.rows,
});

/** Options of a {@link TaskManager} with any engine. */
interface CommonOptions extends OptionsOf<typeof commonOptions> {}

/** Options of a {@link TaskManager} with the embedded engine. */
export interface EmbeddedManagerOptions extends CommonOptions, OptionsOf<typeof embeddedOptions> {
  engine?: undefined;
}

/**
 * Options of a {@link TaskManager} with another engine. The factory of the engine has the options
 * for storage, retention and statistics.
 */
export interface EngineManagerOptions
  extends CommonOptions,
    Partial<Record<keyof typeof embeddedOptions.rows, undefined>> {
  /**
   * An engine instead of the embedded one, such as `bullmqEngine` returns. Each `TaskManager` needs
   * its own engine.
   */
  engine: TaskEngine;
}

/** Options of a {@link TaskManager}. */
export type TaskManagerOptions = EmbeddedManagerOptions | EngineManagerOptions;

/** The options of `start`. */
export const startOptions = optionSet({
  /** Whether this process runs tasks. With `false`, it only enqueues and shows. Default `true`. */
  run: flag(true),
});

/** Options of `start`. */
export interface StartOptions extends OptionsOf<typeof startOptions>, Named {}

/** The options of `stop`. */
export const stopOptions = optionSet({
  /** Seconds to wait for running tasks. Default 10. */
  timeout: seconds({ default: 10, zero: true, max: 86_400 }),
});

/** Options of `stop`. */
export interface StopOptions extends OptionsOf<typeof stopOptions>, Named {}

/** The checked options of a manager. */
export interface ManagerSettings
  extends SettingsOf<typeof taskLimits>,
    Pick<SettingsOf<typeof commonOptions>, 'concurrency' | 'logger'> {
  engine: TaskEngine;
  cipher: Cipher;
  /** Whether the app asked for silence. */
  silent: boolean;
  warn: DurationWarning;
}

/**
 * Checks the options of a `TaskManager`.
 * @throws TypeError or RangeError with code INVALID_INPUT.
 */
export function readManagerOptions(options: TaskManagerOptions = {}): ManagerSettings {
  const settings = managerOptions.read(options, { where: 'TaskManager' });
  const { concurrency, limits, encryptionKeys, logger, engine } = settings;
  return {
    concurrency,
    ...limits,
    cipher: createCipher(encryptionKeys ?? []),
    logger,
    silent: options.logger === false,
    warn: durationWarnings(logger),
    engine: engine === undefined ? embeddedEngine(settings) : ownEngine(engine, options),
  };
}

function embeddedEngine({
  retentionDays,
  retentionCount,
  stats,
  ...settings
}: SettingsOf<typeof managerOptions>): TaskEngine {
  return createEmbeddedEngine({
    ...settings,
    retention: {
      age: retentionDays === undefined ? undefined : retentionDays * 86_400_000,
      count: retentionCount,
      statistics: stats,
    },
  });
}

/** The engines that have a manager. An engine starts and stops with its manager. */
const managed = new WeakSet<TaskEngine>();

/** Checks the engine that the app passed, and that no option is for the embedded engine. */
function ownEngine(engine: TaskEngine, options: TaskManagerOptions): TaskEngine {
  if (options.database !== undefined)
    throw typeError('database and engine cannot be combined; an engine has its own storage');
  if (typeof engine?.enqueue !== 'function')
    throw wrongKind('engine', engine, 'a TaskEngine, such as bullmqEngine({ connection }) returns');
  for (const option of Object.keys(embeddedOptions.rows))
    if (options[option as keyof typeof embeddedOptions.rows] !== undefined)
      throw misplacedOption(option);
  if (managed.has(engine))
    throw typeError(
      'engine belongs to another TaskManager, which ends it when it stops; ' +
        'create an engine for each TaskManager, such as bullmqEngine({ connection })',
    );
  managed.add(engine);
  return engine;
}

function misplacedOption(option: string): TypeError {
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
