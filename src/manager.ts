import { TaskflowError } from './errors.js';
import { Lifecycle, neverStarted } from './lifecycle.js';
import {
  readManagerOptions,
  type StartOptions,
  type StopOptions,
  startOptions,
  stopOptions,
  type TaskManagerOptions,
} from './manager-options.js';
import { type DurationWarning, fileOption, wrongType } from './options.js';
import type { SharedStore } from './store/shared-store.js';
import { checkedReader } from './tasks/checked-source.js';
import type { CommandBy } from './tasks/commands.js';
import { DefinedSchedules } from './tasks/defined-schedules.js';
import { DefinedTasks } from './tasks/defined-tasks.js';
import {
  checkDeclaration,
  checkHandler,
  type DeclaredTask,
  describeFunction,
  type Handler,
  type JsonSafe,
  type Task,
} from './tasks/definition.js';
import { type Cipher, decryptTask } from './tasks/encryption.js';
import type { TaskEngine } from './tasks/engine.js';
import type { Definitions } from './tasks/function-settings.js';
import { type HandlerRunner, handlerRunner } from './tasks/handler-runner.js';
import { type Listener, Listeners } from './tasks/listeners.js';
import type { NewTask } from './tasks/new-task.js';
import type { EnginePromises } from './tasks/promises.js';
import { readCommand } from './tasks/read-command.js';
import { checkScheduled, type ScheduleOptions } from './tasks/schedule.js';
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
import { nameOption, type TaskOptions } from './tasks/task-options.js';
import type { LogLine, TaskDetail, TaskStatus } from './tasks/types.js';
import { knownTarget } from './tasks/unknown-target.js';

/**
 * The tasks that a dashboard shows and controls, with a store for its sessions: a `TaskManager`, or
 * the queues of `attachQueues`.
 */
export interface AdminSource extends TaskSource {
  readonly store: SharedStore;
}

/**
 * Defines, enqueues, runs, schedules, reads and controls the tasks of an app.
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
  readonly #engine: TaskEngine;
  readonly #reader: TaskReader;
  readonly #runner: HandlerRunner;
  readonly #schedules: DefinedSchedules;
  readonly #listeners: Listeners;
  readonly #defined: DefinedTasks;
  readonly #cipher: Cipher;
  readonly #warnDuration: DurationWarning;
  readonly #lifecycle: Lifecycle;
  #stopped: Promise<void> | undefined;

  constructor(options?: TaskManagerOptions) {
    const settings = readManagerOptions(options);
    const { engine, cipher, logger, silent, warn } = settings;
    this.#engine = engine;
    this.#cipher = cipher;
    this.#warnDuration = warn;
    this.#defined = new DefinedTasks({
      ...settings,
      onUse: () => this.#lifecycle.used(),
      onHandler: () => this.#runner.changed(),
    });
    const { definitions } = this.#defined;
    this.#schedules = new DefinedSchedules(this.#defined, warn);
    this.#runner = handlerRunner({ ...settings, definitions });
    this.#lifecycle = new Lifecycle({
      begin: (run) =>
        engine.start(run ? this.#runner : undefined, { tasks: [...definitions.keys()] }),
      // An engine with its own clock is one for tests, where nothing happens by itself.
      warn: silent || engine.clock ? undefined : () => logger.warn({}, neverStarted),
    });
    this.#reader = checkedReader(engine, () => this.#now());
    this.#listeners = new Listeners(logger);
    engine.observe(this.#listeners);
  }

  /** The store of the engine, which all processes share: sessions, revocations, the audit. */
  get store(): SharedStore {
    return this.#engine.store;
  }

  /** The actions that the engine supports. */
  get can(): TaskEngine['can'] {
    return this.#engine.can;
  }

  /** How the guarantees of the engine differ from those of other engines. */
  get promises(): EnginePromises {
    return this.#engine.promises;
  }

  /**
   * Defines a task.
   *
   * @param name The name in the database and on the dashboard. Do not change it while tasks with
   * this name are pending.
   * @throws RangeError if the name is already defined, TypeError or RangeError for a wrong option.
   */
  task<A extends unknown[]>(
    name: string,
    handler: Handler<A> & JsonSafe<A>,
    options?: TaskOptions,
  ): Task<A> {
    nameOption('name of a task', name, "tasks.task('send_email', handler)");
    checkHandler(name, handler);
    return this.#defined.taskOf<A>(this.#defined.add(name, options, handler));
  }

  /** Declares a task that another process runs. That process adds the handler with `handle`. */
  define<A extends unknown[] = unknown[]>(
    name: string,
    options?: TaskOptions,
    ...more: never[]
  ): DeclaredTask<A> {
    checkDeclaration(name, options, ...more);
    const definition = this.#defined.add(name, options);
    const task = this.#defined.taskOf<A>(definition);
    return {
      ...task,
      handle: (handler) => {
        this.#defined.addHandler(definition, handler);
        return task;
      },
    };
  }

  /**
   * Enqueues a task by a cron expression or at an interval, while this process is started and runs
   * tasks. A handler becomes a task with the name of the schedule.
   */
  schedule<A extends unknown[]>(
    name: string,
    task: Task<A> | (Handler<A> & JsonSafe<A>),
    options: ScheduleOptions<A>,
  ): void {
    checkScheduled(name, task);
    const read = this.#schedules.read(name, options);
    const target = typeof task === 'function' ? this.task<A>(name, task) : task;
    this.#engine.schedule(this.#schedules.add(name, target, read));
  }

  /**
   * Stores all or none of the tasks that `prepare` of this manager's tasks returned. Resolves to
   * their ids when they are on disk.
   *
   * @throws TypeError with code INVALID_INPUT for anything that `prepare` did not return.
   */
  async enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    return this.#defined.enqueue(tasks);
  }

  /**
   * Copies the database to a file while the app and its tasks keep running. To restore the copy,
   * stop all processes and replace the database with it.
   *
   * @throws TaskflowError INVALID_INPUT if the file exists or its folder does not,
   * ENGINE_UNAVAILABLE if the file cannot be written, NOT_SUPPORTED if the engine has no file.
   */
  async backup(path: string): Promise<void> {
    if (path === undefined) throw wrongType('path', path, 'the path of a file');
    const to = fileOption('path', path, '');
    if (!this.#engine.backup)
      throw new TaskflowError('NOT_SUPPORTED', 'this engine does not support backup');
    await this.#engine.backup(to);
  }

  /**
   * Calls the listener for every task that reaches the state, in the process that stored the state
   * and after it did. The listener runs in an empty AsyncLocalStorage context, because one commit
   * may store the changes of many requests.
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
   * Opens the database and runs tasks. With `run: false`, this process only enqueues and shows
   * them. Later calls with the same `run` wait for the first one. A failed start can be retried.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if the database cannot be used or the manager has
   * stopped, INVALID_INPUT if it was started with another `run`.
   */
  async start(options?: StartOptions): Promise<void> {
    const { run } = startOptions.read(options, { where: 'start' });
    await this.#lifecycle.start(run);
  }

  /**
   * Starts no more tasks, waits for running ones, ends streams and timers, and closes the database.
   * A stopped manager cannot be started again.
   */
  async stop(options?: StopOptions): Promise<void> {
    const { timeout } = stopOptions.read(options, {
      where: 'stop',
      suffix: ' of stop()',
      warn: this.#warnDuration,
    });
    this.#lifecycle.stop();
    this.#stopped ??= this.#engine.stop({ timeout });
    await this.#stopped;
  }

  /**
   * Lists tasks, newest first, 50 by default. The query has the names of the HTTP API.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT for a wrong query, TaskflowError
   * INVALID_CURSOR for a cursor of another list.
   * @example
   * ```ts
   * const { items, nextCursor } = await tasks.find({ status: ['failed'], from: '-6h', limit: 20 });
   * ```
   */
  find(query?: FindQuery): Promise<TaskList> {
    return this.#reader.find(query);
  }

  /** Returns a task with its arguments, attempts and log, or `undefined` if no task has that id. */
  async get(id: string, query?: DetailQuery): Promise<TaskDetail | undefined> {
    const task = await this.#reader.get(id, query);
    return task && decryptTask(this.#cipher, task);
  }

  /** Returns lines of a task's log, oldest first, 500 by default. */
  logs(id: string, query?: LinesQuery): Promise<readonly LogLine[]> {
    return this.#reader.logs(id, query);
  }

  /** Returns `statsSnapshot`, `metrics`, `failures`, `workers`, `waits` or `histograms`. */
  aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']> {
    return this.#reader.aggregate(kind, ...query);
  }

  /** Returns the state of the engine, its queues and its schedules. */
  describe(): ReturnType<TaskEngine['describe']> {
    return this.#reader.describe();
  }

  /** Returns the functions and schedules that this process has defined. */
  definitions(): Definitions {
    return {
      functions: [...this.#defined.definitions.values()].map(describeFunction),
      runsAfter: (...given) => this.#schedules.runsAfter(...given),
    };
  }

  /**
   * Yields the changes after a change number, immediately if there are any. Ends when the engine
   * stops or the signal aborts.
   */
  watch(after: number, signal: AbortSignal): ReturnType<TaskEngine['watch']> {
    return this.#reader.watch(after, signal);
  }

  /**
   * Runs a command on tasks, a queue or a schedule. Only `filter: 'all'` selects every task.
   *
   * A command that throws has changed nothing, unless the error has `maybeDone`. A queue can be
   * paused before its first task, so every queue name is valid.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT if the command is not valid: an unknown
   * key, a value that is `undefined`, neither or both of `ids` and `filter`, or no actor.
   * @throws TaskflowError COUNT_CHANGED if the filter finds another number of tasks than `expect`,
   * NOT_FOUND if there is no schedule of that name.
   * @example
   * ```ts
   * const filter = { status: ['failed'], name: 'send_email' };
   * await tasks.control({ action: 'retry', filter, spread: 60 }, { actor: 'ada' });
   * ```
   */
  async control(command: Command, by: CommandBy): ReturnType<TaskEngine['control']> {
    const [checked, who] = await readCommand(command, by, this.#now());
    const outcome = await this.#engine.control(
      checked.action === 'rerun' ? await this.#defined.rerunOf(checked) : checked,
      who,
    );
    return knownTarget(checked, outcome, this.#engine);
  }

  /** The time of the engine's clock, in Unix milliseconds. */
  #now(): number {
    return this.#engine.clock?.now() ?? Date.now();
  }

  /** Notes that a middleware shows these tasks, so that a missing `start()` is reported. */
  mounted(): void {
    this.#lifecycle.used();
  }
}
