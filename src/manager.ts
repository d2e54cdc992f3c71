import { runInEmptyContext } from './empty-context.js';
import { EmbeddedEngine } from './engines/embedded/engine.js';
import { TaskflowError } from './errors.js';
import {
  type DurationWarning,
  durationWarnings,
  fileOption,
  type Logger,
  loggerOption,
  numberOption,
  optionsObject,
  secondsOption,
  secretKeysOption,
  wrongType,
} from './options.js';
import type { SharedStore } from './store/shared-store.js';
import { encodeArguments } from './tasks/arguments.js';
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
import { thrownForLog } from './tasks/describe-error.js';
import type {
  Aggregates,
  AppConnection,
  Command,
  CommandBy,
  Definitions,
  NewTask,
  TaskEngine,
  TaskQuery,
  TaskSource,
} from './tasks/engine.js';
import { type CallSettings, prepareTask, readCallSettings } from './tasks/prepare.js';
import { type HandlerRunner, handlerRunner } from './tasks/runner.js';
import { readTimetable, runsAfter, type ScheduleOptions, type Timetable } from './tasks/schedule.js';
import { createSealer, type Sealer } from './tasks/sealing.js';
import { type TaskDetail, type TaskStatus, type TaskSummary, taskStatuses } from './tasks/types.js';

/** Options of a {@link TaskManager}. */
export interface TaskManagerOptions {
  /** Path of the SQLite file the tasks are kept in, or `':memory:'`. Default `tasks.db`. */
  database?: string | undefined;
  /** Another engine instead of the embedded one. */
  engine?: TaskEngine | undefined;
  /** Tasks run at once in this process. Default 10. */
  concurrency?: number | undefined;
  limits?: TaskLimits | undefined;
  /**
   * Encrypts the arguments and results of tasks in the database: 32 random characters or more, or a list of such keys, of
   * which the first encrypts and all decrypt. Default: they are stored as they are.
   */
  encryptionKeys?: string | readonly string[] | undefined;
  /** Days that an ended task is kept. Default: for ever. */
  retentionDays?: number | undefined;
  /** How many ended tasks are kept. Default: all. */
  retentionCount?: number | undefined;
  /** Seconds between two looks for what other processes did. Default 0.25. */
  pollInterval?: number | undefined;
  /** The app's pino logger, or `false` for silence. */
  logger?: Logger | false | undefined;
}

/** What can be shown and controlled, with a place for sessions: a `TaskManager`, or queues of BullMQ. */
export interface AdminSource extends TaskSource {
  readonly store: SharedStore;
}

/** How large what is kept of a task may be. */
export interface TaskLimits {
  /** Bytes of a task's arguments as JSON. Default 1 MiB; more is refused at `enqueue`. */
  argsBytes?: number | undefined;
  /** Bytes of a result as JSON. Default 1 MiB; a larger one is left out, and `resultOmitted` says so. */
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

type Listener = (task: TaskSummary) => void;

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
  readonly #runner: HandlerRunner;
  readonly #schedules = new Map<string, Timetable>();
  readonly #listeners = new Map<TaskStatus, Set<Listener>>();
  readonly #argsBytes: number;
  readonly #sealer: Sealer;
  readonly #logger: Logger;
  readonly #warnDuration: DurationWarning;
  #started: Promise<void> | undefined;
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
      'pollInterval',
      'logger',
    ]);
    const limits = optionsObject<TaskLimits>('limits', given.limits, ['argsBytes', 'resultBytes', 'logLines']);
    this.#logger = loggerOption('logger', given.logger);
    this.#warnDuration = durationWarnings(this.#logger);
    this.#sealer = createSealer(given.encryptionKeys === undefined ? [] : secretKeysOption('encryptionKeys', given.encryptionKeys));
    this.#argsBytes = numberOption('limits.argsBytes', limits.argsBytes, mebibyte, { min: 2, max: 64 * mebibyte, integer: true });
    this.#runner = handlerRunner({
      concurrency: numberOption('concurrency', given.concurrency, 10, { min: 1, max: 10_000, integer: true }),
      definitions: this.#definitions,
      sealer: this.#sealer,
      resultBytes: numberOption('limits.resultBytes', limits.resultBytes, mebibyte, { max: 64 * mebibyte, integer: true }),
      logLines: numberOption('limits.logLines', limits.logLines, 10_000, { min: 1, max: 1_000_000, integer: true }),
      logger: this.#logger,
    });
    this.#engine = engineOf(given, this.#logger, this.#warnDuration);
    this.#engine.observe({
      wants: (status) => (this.#listeners.get(status)?.size ?? 0) > 0,
      tell: (task) => this.#emit(task),
    });
  }

  /** Sessions, revocations and whatever else several processes must agree on, kept by the engine. */
  get store(): SharedStore {
    return this.#engine.store;
  }

  get can(): TaskEngine['can'] {
    return this.#engine.can;
  }

  /**
   * Defines a task.
   *
   * @param name What it is called in the database and on the dashboard; it must not change while tasks of it wait.
   * @throws RangeError for a name that is defined already, TypeError or RangeError for a wrong option.
   */
  task<A extends unknown[]>(name: string, handler: Handler<A> & JsonSafe<A>, options?: TaskOptions): Task<A> {
    checkHandler(name, handler);
    return this.#taskOf<A>(this.#add(name, options, handler));
  }

  /** Declares a task that another process runs; `handle` adds the handler where it does. */
  define<A extends unknown[] = unknown[]>(name: string, options?: TaskOptions): DeclaredTask<A> {
    const definition = this.#add(name, options, undefined);
    const task = this.#taskOf<A>(definition);
    return {
      ...task,
      handle: (handler) => {
        checkHandler(name, handler);
        if (definition.handler) throw new RangeError(`task '${name}' has a handler already`);
        definition.handler = handler as Handler<readonly unknown[]>;
        this.#runner.changed();
        return task;
      },
    };
  }

  /**
   * Enqueues a task by a cron expression or every so many seconds, while this process is started and runs tasks. A bare
   * handler becomes a task under the schedule's name.
   */
  schedule<A extends unknown[]>(name: string, task: Task<A> | (Handler<A> & JsonSafe<A>), options: ScheduleOptions<A>): void {
    nameOption('name of a schedule', name);
    const timetable = readTimetable(name, options, Date.now(), this.#warnDuration);
    if (this.#schedules.has(name)) throw new RangeError(`a schedule named '${name}' exists already`);
    const target = typeof task === 'function' ? this.task<A>(name, task) : task;
    const definition = this.#definitions.get(target.name);
    if (!definition) throw new RangeError(`schedule '${name}': task '${target.name}' is not of this manager`);
    const args = options.args ?? [];
    const prepare = (): NewTask => ({ ...this.#prepare(definition, args, undefined, 'scheduled'), schedule: name });
    // Wrong arguments fail here, not in the night.
    prepare();
    this.#schedules.set(name, timetable);
    this.#engine.schedule({ name, task: definition.name, prepare, ...timetable });
  }

  /** Stores tasks that `prepare` made, all or none; resolves when they are on disk. */
  enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    return this.#engine.enqueue(tasks);
  }

  /**
   * Copies the database to a file while it is in use: neither the app nor its tasks wait. The copy is a whole database, to be
   * used by putting it in the place of the old one while nothing runs.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE where the file exists already or cannot be written, NOT_SUPPORTED where the
   * engine has no file of its own.
   */
  async backup(path: string): Promise<void> {
    const to = fileOption('path', path, '');
    if (!this.#engine.backup) throw new TaskflowError('NOT_SUPPORTED', 'this engine has no backup of its own');
    await this.#engine.backup(to);
  }

  /**
   * Calls the listener for every task that reaches the state, after the state is stored, in the process that stored it. The
   * listener runs in an empty AsyncLocalStorage context, because one process stores the changes of many requests together.
   */
  on(status: TaskStatus, listener: Listener): this {
    if (!taskStatuses.includes(status)) throw wrongType('event', status, taskStatuses.join(', '));
    this.#listeners.set(status, (this.#listeners.get(status) ?? new Set()).add(listener));
    return this;
  }

  off(status: TaskStatus, listener: Listener): this {
    this.#listeners.get(status)?.delete(listener);
    return this;
  }

  /** Opens the database and begins to run tasks. Rejects when the database cannot be used. */
  async start(options?: StartOptions): Promise<void> {
    const { run = true } = optionsObject<StartOptions>('start', options, ['run']);
    this.#started ??= runInEmptyContext(() =>
      this.#start(run).catch((error) => {
        // The cause may pass, so the app may try again.
        this.#started = undefined;
        throw error;
      }),
    );
    await this.#started;
  }

  /** Takes no more tasks, waits for those that run, ends streams and timers, closes the database. */
  async stop(options?: StopOptions): Promise<void> {
    const { timeout } = optionsObject<StopOptions>('stop', options, ['timeout']);
    const seconds = secondsOption('timeout of stop()', timeout, 10, { warn: this.#warnDuration, zero: true, max: 86_400 });
    this.#stopped ??= this.#engine.stop({ timeout: seconds });
    await this.#stopped;
  }

  find(query: TaskQuery): ReturnType<TaskEngine['find']> {
    return this.#engine.find(query);
  }

  async get(...[id, options]: Parameters<TaskEngine['get']>): ReturnType<TaskEngine['get']> {
    const task = await this.#engine.get(id, options);
    return task && this.#unsealed(task);
  }

  logs(id: string, query: Parameters<TaskEngine['logs']>[1]): ReturnType<TaskEngine['logs']> {
    return this.#engine.logs(id, query);
  }

  aggregate<K extends keyof Aggregates>(kind: K, ...query: Aggregates[K]['query']): Promise<Aggregates[K]['answer']> {
    return this.#engine.aggregate(kind, ...query);
  }

  describe(): ReturnType<TaskEngine['describe']> {
    return this.#engine.describe();
  }

  definitions(): Definitions {
    return {
      functions: [...this.#definitions.values()].map(describeFunction),
      runsAfter: (schedule, next, count) => runsAfter(this.#schedules.get(schedule), next, count),
    };
  }

  watch(after: number, signal: AbortSignal): ReturnType<TaskEngine['watch']> {
    return this.#engine.watch(after, signal);
  }

  async control(command: Command, by: CommandBy): ReturnType<TaskEngine['control']> {
    return this.#engine.control(command.action === 'rerun' ? await this.#withArguments(command) : command, by);
  }

  /** New arguments of a rerun, checked and encrypted as those of an enqueue are. */
  async #withArguments(command: Extract<Command, { action: 'rerun' }>): Promise<Command> {
    const { ids, args } = command;
    if (args === undefined) return command;
    const [id] = ids;
    if (id === undefined || ids.length > 1) throw new RangeError(`args belong to the rerun of one task, not of ${ids.length}`);
    const list: unknown = JSON.parse(args);
    if (!Array.isArray(list)) throw new TypeError('args must be JSON text of a list');
    const name = (await this.#engine.get(id))?.name ?? '';
    try {
      return { ...command, args: this.#sealer.seal(encodeArguments(name, list, this.#argsBytes), name) };
    } catch (cause) {
      throw new TaskflowError('INVALID_INPUT', (cause as Error).message, { cause });
    }
  }

  async #start(run: boolean): Promise<void> {
    await this.#engine.start(run ? this.#runner : undefined);
  }

  #add(name: string, options: TaskOptions | undefined, handler: unknown): Definition {
    nameOption('name of a task', name);
    if (this.#definitions.has(name)) throw new RangeError(`a task named '${name}' is defined already`);
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
    return { ...this.#enqueuerOf<A>(definition, {}), with: (options) => this.#enqueuerOf<A>(definition, options) };
  }

  #enqueuerOf<A extends readonly unknown[]>(definition: Definition, options: EnqueueOptions): Enqueuer<A> {
    const call = readCallSettings(options, definition.name, this.#warnDuration);
    const prepare = (...args: A): NewTask => this.#prepare(definition, args, call);
    return {
      name: definition.name,
      prepare,
      enqueue: async (...args) => {
        const task = prepare(...args);
        const [id = task.id] = await this.enqueue([task]);
        return id;
      },
      enqueueIn: (connection, ...args) => this.#enqueueIn(connection, prepare(...args)),
      enqueueMany: async (list) => {
        return [...(await this.enqueue(list.map((args) => prepare(...args))))];
      },
    };
  }

  #prepare(definition: Definition, args: readonly unknown[], call?: CallSettings, source?: NewTask['source']): NewTask {
    return prepareTask(definition, args, { argsBytes: this.#argsBytes, sealer: this.#sealer, clock: this.#engine.clock }, call, source);
  }

  #enqueueIn(connection: AppConnection, task: NewTask): string {
    if (!this.#engine.enqueueIn) throw new TaskflowError('NOT_SUPPORTED', 'this engine has no file that an app could write to');
    const [id = task.id] = this.#engine.enqueueIn(connection, [task]);
    return id;
  }

  /** Arguments and result as they were given; in their place, why they cannot be read. */
  #unsealed(task: TaskDetail): TaskDetail {
    try {
      const open = (value: unknown): unknown =>
        typeof value === 'string' ? JSON.parse(this.#sealer.open(JSON.stringify(value), task.name)) : value;
      return { ...task, args: open(task.args) as readonly unknown[], result: open(task.result) };
    } catch (error) {
      return { ...task, args: [], result: null, resultOmitted: (error as Error).message };
    }
  }

  #emit(task: TaskSummary): void {
    for (const listener of this.#listeners.get(task.status) ?? []) runInEmptyContext(() => this.#callListener(listener, task));
  }

  #callListener(listener: Listener, task: TaskSummary): void {
    try {
      // An async listener is not awaited, but its rejection is logged.
      Promise.resolve(listener(task) as unknown).catch((err: unknown) => this.#listenerFailed(err, task));
    } catch (err) {
      this.#listenerFailed(err, task);
    }
  }

  #listenerFailed(err: unknown, task: TaskSummary): void {
    const fields = { taskId: task.id, task: task.name, status: task.status };
    this.#logger.error({ err: thrownForLog(err), ...fields }, 'a listener failed');
  }
}

function engineOf(
  { database, engine, pollInterval, retentionDays, retentionCount }: TaskManagerOptions,
  logger: Logger,
  warn: DurationWarning,
): TaskEngine {
  if (engine !== undefined) {
    if (database !== undefined) throw new TypeError('database and engine exclude each other');
    if (typeof engine !== 'object' || engine === null || typeof engine.enqueue !== 'function')
      throw wrongType('engine', engine, 'a TaskEngine');
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
          : numberOption('retentionDays', retentionDays, 0, { above: true, max: 36_500 }) * 86_400_000,
      count: numberOption('retentionCount', retentionCount, undefined, { integer: true }),
    },
  });
}
