import { EmbeddedEngine } from './engines/embedded/engine.js';
import { type StatsOptions, statsOption } from './engines/stats-option.js';
import { TaskflowError } from './errors.js';
import { Lifecycle, neverStarted } from './lifecycle.js';
import { type Listener, Listeners } from './listeners.js';
import {
  booleanOption,
  type DurationWarning,
  durationWarnings,
  fileOption,
  type Logger,
  loggerOption,
  numberOption,
  optionsObject,
  rangeError,
  secondsOption,
  secretKeysOption,
  typeError,
  wrongType,
} from './options.js';
import type { SharedStore } from './store/shared-store.js';
import { encodeArguments } from './tasks/arguments.js';
import { checkedReader } from './tasks/checked-source.js';
import type { CommandBy, Command as EngineCommand } from './tasks/commands.js';
import {
  checkHandler,
  type DeclaredTask,
  type Definition,
  describeFunction,
  type EnqueueOptions,
  type Enqueuer,
  type Handler,
  type JsonSafe,
  nameOption,
  readSettings,
  type Task,
  type TaskOptions,
} from './tasks/definition.js';
import { type Cipher, createCipher } from './tasks/encryption.js';
import type { AppConnection, TaskEngine } from './tasks/engine.js';
import type { Definitions } from './tasks/function-settings.js';
import type { NewTask } from './tasks/new-task.js';
import { type CallSettings, prepareTask, readCallSettings } from './tasks/prepare.js';
import { argumentLists, PreparedTasks } from './tasks/prepared.js';
import type { EnginePromises } from './tasks/promises.js';
import { readCommand } from './tasks/read-command.js';
import { type HandlerRunner, handlerRunner } from './tasks/runner.js';
import {
  checkScheduled,
  type Recurrence,
  readRecurrence,
  runsAfter,
  type ScheduleOptions,
} from './tasks/schedule.js';
import type {
  Aggregates,
  Command,
  DetailQuery,
  FindQuery,
  LinesQuery,
  TaskList,
  TaskReader,
  TaskSource,
} from './tasks/source.js';
import type { LogLine, TaskDetail, TaskStatus } from './tasks/types.js';
import { knownTarget } from './tasks/unknown-target.js';

/** Options of a {@link TaskManager} with any engine. */
interface CommonOptions {
  /** Tasks run at once in this process, 1 to 10,000. Default 10. */
  concurrency?: number | undefined;
  limits?: TaskLimits | undefined;
  /**
   * Encrypts the arguments and results of tasks where they are stored: 32 random characters or
   * more, or a list of such keys, of which the first encrypts and all decrypt. Names, tags,
   * idempotency keys, errors and log lines are stored as they are. Default: nothing is encrypted.
   */
  encryptionKeys?: string | readonly string[] | undefined;
  /** The app's pino logger, or `false` for silence. */
  logger?: Logger | false | undefined;
}

/** Options of a {@link TaskManager} with the embedded engine. */
export interface EmbeddedManagerOptions extends CommonOptions {
  engine?: undefined;
  /** Path of the SQLite file the tasks are kept in, or `':memory:'`. Default `tasks.db`. */
  database?: string | undefined;
  /** Days that an ended task is kept. Default: for ever. */
  retentionDays?: number | undefined;
  /** How many ended tasks are kept. Default: all. */
  retentionCount?: number | undefined;
  /** How long the statistics by minute and by hour are kept. */
  stats?: StatsOptions | undefined;
  /** Seconds between two looks for what other processes did. Default 0.25. */
  pollInterval?: number | undefined;
}

/**
 * Options of a {@link TaskManager} with another engine, whose factory has the options for storage,
 * retention and statistics.
 */
export interface EngineManagerOptions extends CommonOptions {
  /**
   * Another engine instead of the embedded one, such as `bullmqEngine` returns. Each `TaskManager`
   * needs an engine of its own.
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

/**
 * What can be shown and controlled, with a place for sessions: a `TaskManager`, or queues of
 * BullMQ.
 */
export interface AdminSource extends TaskSource {
  readonly store: SharedStore;
}

/** How large what is kept of a task may be. */
export interface TaskLimits {
  /** Bytes of a task's arguments as JSON. Default 1 MiB; more is refused at `enqueue`. */
  argsBytes?: number | undefined;
  /**
   * Bytes of a result as JSON. Default 1 MiB; a larger one is left out, and `resultOmitted` says
   * so.
   */
  resultBytes?: number | undefined;
  /** Log lines kept of a task. Default 10,000. */
  logLines?: number | undefined;
}

/** Options of `start`. */
export interface StartOptions {
  /** Whether this process runs tasks; with `false` it only enqueues and shows. Default `true`. */
  run?: boolean | undefined;
}

/** Options of `stop`. */
export interface StopOptions {
  /** Seconds to wait for tasks that run. Default 10. */
  timeout?: number | undefined;
}

const mebibyte = 1024 * 1024;

/**
 * The tasks of an app: what they are called, what runs them, where they are kept.
 *
 * @example
 * ```ts
 * const tasks = new TaskManager({ database: 'tasks.db' });
 * const sendEmail = tasks.task('send_email', async (address: string) => { ... }, { retries: 3 });
 * await tasks.start();
 * await sendEmail.enqueue('ada@example.com');
 * ```
 */
export class TaskManager implements TaskSource {
  readonly #definitions = new Map<string, Definition>();
  readonly #engine: TaskEngine;
  readonly #reader: TaskReader;
  readonly #runner: HandlerRunner;
  readonly #schedules = new Map<string, Recurrence>();
  readonly #listeners: Listeners;
  readonly #argsBytes: number;
  readonly #cipher: Cipher;
  readonly #logger: Logger;
  readonly #warnDuration: DurationWarning;
  readonly #prepared = new PreparedTasks();
  readonly #lifecycle: Lifecycle;
  #stopped: Promise<void> | undefined;

  constructor(options?: TaskManagerOptions) {
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
    this.#logger = loggerOption('logger', given.logger);
    this.#warnDuration = durationWarnings(this.#logger);
    this.#cipher = createCipher(
      given.encryptionKeys === undefined
        ? []
        : secretKeysOption('encryptionKeys', given.encryptionKeys),
    );
    this.#argsBytes = numberOption('limits.argsBytes', limits.argsBytes, mebibyte, {
      min: 2,
      max: 64 * mebibyte,
      integer: true,
      unit: 'bytes',
    });
    this.#runner = handlerRunner({
      concurrency: numberOption('concurrency', given.concurrency, 10, {
        min: 1,
        max: 10_000,
        integer: true,
      }),
      definitions: this.#definitions,
      cipher: this.#cipher,
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
      logger: this.#logger,
    });
    this.#engine = engineOf(given, this.#logger, this.#warnDuration);
    this.#lifecycle = new Lifecycle({
      begin: (run) =>
        this.#engine.start(run ? this.#runner : undefined, {
          tasks: [...this.#definitions.keys()],
        }),
      // An engine with a clock of its own is one for tests, where nothing happens by itself.
      warn:
        given.logger === false || this.#engine.clock
          ? undefined
          : () => this.#logger.warn({}, neverStarted),
    });
    this.#reader = checkedReader(this.#engine, () => this.#now());
    this.#listeners = new Listeners(this.#logger);
    this.#engine.observe(this.#listeners);
  }

  /**
   * Sessions, revocations and whatever else several processes must agree on, kept by the engine.
   */
  get store(): SharedStore {
    return this.#engine.store;
  }

  get can(): TaskEngine['can'] {
    return this.#engine.can;
  }

  /** What the engine promises differently from other engines. */
  get promises(): EnginePromises {
    return this.#engine.promises;
  }

  /**
   * Defines a task.
   *
   * @param name What it is called in the database and on the dashboard; it must not change while
   * tasks of it wait.
   * @throws RangeError for a name that is defined already, TypeError or RangeError for a wrong
   * option.
   */
  task<A extends unknown[]>(
    name: string,
    handler: Handler<A> & JsonSafe<A>,
    options?: TaskOptions,
  ): Task<A> {
    nameOption('name of a task', name, "tasks.task('send_email', handler)");
    checkHandler(name, handler);
    return this.#taskOf<A>(this.#add(name, options, handler));
  }

  /** Declares a task that another process runs; `handle` adds the handler where it does. */
  define<A extends unknown[] = unknown[]>(name: string, options?: TaskOptions): DeclaredTask<A> {
    if (typeof options === 'function')
      throw wrongType(
        `the second argument of define('${String(name)}')`,
        options,
        'the options; define(…).handle(handler) takes the handler',
      );
    const definition = this.#add(name, options, undefined);
    const task = this.#taskOf<A>(definition);
    return {
      ...task,
      handle: (handler) => {
        checkHandler(name, handler);
        if (definition.handler) throw rangeError(`task '${name}' has a handler already`);
        definition.handler = handler as Handler<readonly unknown[]>;
        this.#runner.changed();
        return task;
      },
    };
  }

  /**
   * Enqueues a task by a cron expression or every so many seconds, while this process is started
   * and runs tasks. A bare handler becomes a task under the schedule's name.
   */
  schedule<A extends unknown[]>(
    name: string,
    task: Task<A> | (Handler<A> & JsonSafe<A>),
    options: ScheduleOptions<A>,
  ): void {
    checkScheduled(name, task);
    const recurrence = readRecurrence(name, options, Date.now(), this.#warnDuration);
    if (this.#schedules.has(name))
      throw rangeError(
        `a schedule named '${name}' already exists in this TaskManager; use another name`,
      );
    const { args = [] }: { args?: unknown } = options;
    if (!Array.isArray(args))
      throw wrongType(`args of schedule '${name}'`, args, 'a list of arguments');
    const target = typeof task === 'function' ? this.task<A>(name, task) : task;
    const definition = this.#definitions.get(target.name);
    if (!definition)
      throw rangeError(`schedule '${name}': task '${target.name}' is not of this manager`);
    const prepare = (): NewTask => ({
      ...this.#prepare(definition, args, undefined, 'scheduled'),
      schedule: name,
    });
    // Wrong arguments fail here, not in the night.
    prepare();
    this.#schedules.set(name, recurrence);
    this.#engine.schedule({ name, task: definition.name, prepare, ...recurrence });
  }

  /**
   * Stores tasks that `prepare` of this manager's tasks returned, all or none. Resolves to their
   * ids when they are on disk.
   *
   * @throws TypeError with code INVALID_INPUT for anything that `prepare` did not return.
   */
  async enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    return this.#store(this.#prepared.check(tasks));
  }

  /**
   * Copies the database to a file while it is in use: neither the app nor its tasks wait. The copy
   * is a whole database, to be used by putting it in the place of the old one while nothing runs.
   *
   * @throws TaskflowError INVALID_INPUT if there is a file at the path already, or no folder for
   * it. ENGINE_UNAVAILABLE if the file cannot be written, NOT_SUPPORTED if the engine has no file
   * of its own.
   */
  async backup(path: string): Promise<void> {
    if (path === undefined) throw wrongType('path', path, 'the path of a file');
    const to = fileOption('path', path, '');
    if (!this.#engine.backup)
      throw new TaskflowError('NOT_SUPPORTED', 'this engine does not support backup');
    await this.#engine.backup(to);
  }

  /**
   * Calls the listener for every task that reaches the state, after the state is stored, in the
   * process that stored it. The listener runs in an empty AsyncLocalStorage context, because one
   * process stores the changes of many requests together.
   */
  on(status: TaskStatus, listener: Listener): this {
    this.#listeners.of(status, listener).add(listener);
    return this;
  }

  /** Removes a listener that `on` added. */
  off(status: TaskStatus, listener: Listener): this {
    this.#listeners.of(status, listener).delete(listener);
    return this;
  }

  /**
   * Opens the database and begins to run tasks, or with `run: false` only to enqueue and show them.
   * Further calls with the same `run` wait for the first one. A start that failed can be tried
   * again.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if the database cannot be used or the manager has
   * stopped, INVALID_INPUT if it was started with another `run`.
   */
  async start(options?: StartOptions): Promise<void> {
    const given = optionsObject<StartOptions>('start', options, ['run']);
    await this.#lifecycle.start(booleanOption('run', given.run, true));
  }

  /**
   * Takes no more tasks, waits for running ones, ends streams and timers, and closes the database.
   * A stopped manager cannot be started again.
   */
  async stop(options?: StopOptions): Promise<void> {
    const { timeout } = optionsObject<StopOptions>('stop', options, ['timeout']);
    const seconds = secondsOption('timeout of stop()', timeout, 10, {
      warn: this.#warnDuration,
      zero: true,
      max: 86_400,
    });
    this.#lifecycle.stop();
    this.#stopped ??= this.#engine.stop({ timeout: seconds });
    await this.#stopped;
  }

  /**
   * Lists tasks, the newest first, 50 unless `limit` says otherwise. The query has the names of the
   * HTTP API.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT for a wrong query, TaskflowError
   * INVALID_CURSOR for a cursor of another list.
   * @example
   * ```ts
   * const { items, nextCursor } = await tasks.find({ status: ['failed'], name: 'send_email', from: '-6h', limit: 20 });
   * ```
   */
  find(query?: FindQuery): Promise<TaskList> {
    return this.#reader.find(query);
  }

  /** Returns a task with its arguments, attempts and log, or `undefined` if no task has that id. */
  async get(id: string, query?: DetailQuery): Promise<TaskDetail | undefined> {
    const task = await this.#reader.get(id, query);
    return task && this.#decrypted(task);
  }

  /** Returns lines of a task's log, the oldest first, 500 unless `limit` says otherwise. */
  logs(id: string, query?: LinesQuery): Promise<readonly LogLine[]> {
    return this.#reader.logs(id, query);
  }

  /** Returns sums over tasks: `statsSnapshot`, `metrics`, `failures`, `workers` or `waits`. */
  aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']> {
    return this.#reader.aggregate(kind, ...query);
  }

  /** Returns what the engine says of itself, its queues and its schedules. */
  describe(): ReturnType<TaskEngine['describe']> {
    return this.#reader.describe();
  }

  definitions(): Definitions {
    return {
      functions: [...this.#definitions.values()].map(describeFunction),
      runsAfter: (schedule, next, count) =>
        runsAfter(
          this.#schedules.get(schedule),
          next,
          numberOption('count', count, 0, { max: 1000, integer: true }),
        ),
    };
  }

  /**
   * Yields whenever something changed after that number, at once if it has already. Ends with the
   * engine or the signal.
   */
  watch(after: number, signal: AbortSignal): ReturnType<TaskEngine['watch']> {
    return this.#reader.watch(after, signal);
  }

  /**
   * Runs a command on tasks, a queue or a schedule. Only `filter: 'all'` selects every task.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT if the command is not valid: an unknown
   * key, a value that is `undefined`, neither or both of `ids` and `filter`, or no actor. Nothing
   * is done.
   * @throws TaskflowError COUNT_CHANGED if the filter finds another number of tasks than `expect`,
   * NOT_FOUND if there is no schedule of that name. Nothing is done. A queue can be paused before
   * its first task, so no name of a queue is unknown.
   * @example
   * ```ts
   * await tasks.control({ action: 'retry', filter: { status: ['failed'], name: 'send_email' }, spread: 60 }, { actor: 'ada' });
   * ```
   */
  async control(command: Command, by: CommandBy): ReturnType<TaskEngine['control']> {
    const [checked, who] = await readCommand(command, by, this.#now());
    const outcome = await this.#engine.control(
      checked.action === 'rerun' ? await this.#withArguments(checked) : checked,
      who,
    );
    return knownTarget(checked, outcome, () => this.#engine.describe());
  }

  /** New arguments of a rerun, checked and encrypted as those of an enqueue are. */
  async #withArguments(
    command: Extract<EngineCommand, { action: 'rerun' }>,
  ): Promise<EngineCommand> {
    const { ids, args } = command;
    if (args === undefined) return command;
    const [id] = ids;
    if (id === undefined || ids.length > 1)
      throw rangeError(`command.args belongs to the rerun of one task, not of ${ids.length}`);
    const name = (await this.#engine.get(id))?.name ?? '';
    try {
      const list = JSON.parse(args) as readonly unknown[];
      return {
        ...command,
        args: this.#cipher.encrypt(encodeArguments(name, list, this.#argsBytes), name),
      };
    } catch (cause) {
      throw new TaskflowError('INVALID_INPUT', (cause as Error).message, { cause });
    }
  }

  /** The time of the engine's clock, in Unix milliseconds. */
  #now(): number {
    return this.#engine.clock?.now() ?? Date.now();
  }

  /**
   * Notes that a middleware shows these tasks, so that a manager that is never started is reported.
   */
  mounted(): void {
    this.#lifecycle.used();
  }

  #store(tasks: readonly NewTask[]): Promise<readonly string[]> {
    this.#lifecycle.used();
    return this.#engine.enqueue(tasks);
  }

  #add(name: string, options: TaskOptions | undefined, handler: unknown): Definition {
    nameOption('name of a task', name, "tasks.define('send_email')");
    if (this.#definitions.has(name))
      throw rangeError(
        `a task named '${name}' is already defined in this TaskManager; use another name`,
      );
    const definition: Definition = {
      name,
      settings: readSettings(name, options, this.#warnDuration),
      handler: handler as Definition['handler'],
    };
    this.#definitions.set(name, definition);
    if (handler) this.#runner.changed();
    return definition;
  }

  #taskOf<A extends readonly unknown[]>(definition: Definition): Task<A> {
    return {
      ...this.#enqueuerOf<A>(definition, {}),
      with: (options) => this.#enqueuerOf<A>(definition, options),
    };
  }

  #enqueuerOf<A extends readonly unknown[]>(
    definition: Definition,
    options: EnqueueOptions,
  ): Enqueuer<A> {
    const call = readCallSettings(options, definition.name, this.#warnDuration);
    const prepare = (...args: A): NewTask => this.#prepare(definition, args, call);
    return {
      name: definition.name,
      prepare: (...args) => this.#prepared.add(prepare(...args)),
      enqueue: async (...args) => {
        const task = prepare(...args);
        const [id = task.id] = await this.#store([task]);
        return id;
      },
      enqueueIn: (connection, ...args) => this.#enqueueIn(connection, prepare(...args)),
      enqueueMany: async (list) => {
        const tasks = argumentLists(list).map((args) => prepare(...args));
        return [...(await this.#store(tasks))];
      },
    };
  }

  #prepare(
    definition: Definition,
    args: readonly unknown[],
    call?: CallSettings,
    source?: NewTask['source'],
  ): NewTask {
    return prepareTask(
      definition,
      args,
      { argsBytes: this.#argsBytes, cipher: this.#cipher, clock: this.#engine.clock },
      call,
      source,
    );
  }

  #enqueueIn(connection: AppConnection, task: NewTask): string {
    if (!this.#engine.enqueueIn)
      throw new TaskflowError('NOT_SUPPORTED', 'this engine does not support enqueueIn');
    this.#lifecycle.used();
    const [id = task.id] = this.#engine.enqueueIn(connection, [task]);
    return id;
  }

  /** Arguments and result as they were given; in their place, why they cannot be read. */
  #decrypted(task: TaskDetail): TaskDetail {
    try {
      const open = (value: unknown): unknown =>
        typeof value === 'string'
          ? JSON.parse(this.#cipher.decrypt(JSON.stringify(value), task.name))
          : value;
      const args = open(task.args);
      return { ...task, args: Array.isArray(args) ? args : [args], result: open(task.result) };
    } catch (error) {
      return { ...task, args: [], result: null, resultOmitted: (error as Error).message };
    }
  }
}

/** Options of the embedded engine that other engines have in their own factory, or not at all. */
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
