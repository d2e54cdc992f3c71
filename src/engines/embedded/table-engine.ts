import { randomUUID } from 'node:crypto';
import { Background } from '../../background.js';
import { runInEmptyContext } from '../../empty-context.js';
import { TaskflowError } from '../../errors.js';
import { Notifier } from '../../notifier.js';
import type { Logger } from '../../options.js';
import type { SharedStore } from '../../store/shared-store.js';
import { allActions, type Command, type CommandBy, type Outcome } from '../../tasks/commands.js';
import type { AppDescription, TaskEngine, TransitionObserver } from '../../tasks/engine.js';
import type { Aggregates, LogQuery, TaskPage, TaskQuery } from '../../tasks/engine-queries.js';
import type { NewTask, Schedule } from '../../tasks/new-task.js';
import type { EnginePromises } from '../../tasks/promises.js';
import type { TaskRunner } from '../../tasks/task-runner.js';
import { aggregate } from '../tables/read/aggregates.js';
import { Reader } from '../tables/read/reader.js';
import { forReading } from '../tables/schema/database.js';
import { packTasks } from '../tables/write/packed-tasks.js';
import { describeWorker } from '../this-process.js';
import { type Clock, systemClock, type Timer } from './clock.js';
import { createControl } from './commands.js';
import { createGroupCommit } from './group-commit.js';
import { createMaintenance, type Retention } from './maintenance.js';
import { createProcessList, type ProcessList } from './processes.js';
import { takeOver } from './recovery.js';
import { createClaimTimer } from './run/claim-timer.js';
import { createExecutor, type Executor } from './run/executor.js';
import { createScheduleTimers } from './run/schedule-timers.js';
import type { Shared, Tables } from './shared.js';
import type { OpenTables, StorageBackend } from './storage-backend.js';
import { embeddedStore } from './store.js';
import { createTransitions } from './transitions.js';

/** Options of a {@link TableEngine}. */
export interface TableEngineOptions {
  storage: StorageBackend;
  logger: Logger;
  retention: Retention;
  /** The clock. Default: the clock of the process. */
  clock?: Clock;
}

/** Milliseconds between two checks for dead processes, and between two heartbeats. */
const recoveryInterval = 1000;

/** The parts that exist while the tables are open. */
interface Opened extends OpenTables, Tables {
  processes: ProcessList;
  control: TaskEngine['control'];
}

/*
 * How the parts of the engine work together:
 * - The backend (`StorageBackend`) opens the tables: a file with a thread that writes it, or
 *   memory.
 * - Every change is a write that goes through `GroupCommit`, which gathers writes and claims into
 *   transactions. `Reader` reads on a separate connection.
 * - `Executor` claims tasks and runs them. The claim timer wakes it when a delayed task is due.
 *   `ScheduleTimers` creates the tasks of schedules.
 * - `ProcessList` registers the processes that use a file. `takeOver` takes over the tasks of dead
 *   processes.
 * - `control` runs the commands of operators, the maintenance deletes old data, and `Transitions`
 *   notifies the app.
 * - This class opens and closes the parts in an order in which no task is lost, and delegates each
 *   call to one of them.
 */

/**
 * Runs the tasks of tables that are written in batches. Several processes may have the tables open.
 */
export class TableEngine implements TaskEngine {
  readonly can = allActions;
  readonly promises: EnginePromises;
  readonly store: SharedStore;
  readonly enqueueIn?: NonNullable<TaskEngine['enqueueIn']>;
  readonly backup?: NonNullable<TaskEngine['backup']>;
  readonly #storage: StorageBackend;
  readonly #shared: Shared;
  readonly #timers = new Set<Timer>();
  /** Notifies after each commit of this or another process. */
  readonly #changed = new Notifier();
  readonly #scheduler: ReturnType<typeof createScheduleTimers>;
  readonly #maintenance: ReturnType<typeof createMaintenance>;
  readonly #claims: ReturnType<typeof createClaimTimer>;
  #opening: Promise<Opened> | undefined;
  #starting: Promise<void> | undefined;
  /** Set once the tables are open. Timers use it until the stop has finished. */
  #opened: Opened | undefined;
  #executor: Executor | undefined;
  #stopping: Promise<void> | undefined;
  /** Whether the drain has finished. Nothing is read or written after that. */
  #stopped = false;

  constructor({ storage, logger, retention, clock = systemClock }: TableEngineOptions) {
    const transitions = createTransitions(logger);
    const wake = (): void => this.#wake();
    this.#shared = { owner: randomUUID(), clock, logger, transitions, wake };
    this.#storage = storage;
    this.promises = storage.promises;
    this.#maintenance = createMaintenance({ ...this.#shared, retention });
    this.#claims = createClaimTimer(this.#shared);
    this.#scheduler = createScheduleTimers(this.#shared);
    this.store = embeddedStore(async () => ({
      ...(await this.#openChecked()),
      changed: this.#changed,
    }));
    const { enqueueIn, backup } = storage;
    if (enqueueIn) this.enqueueIn = enqueueIn;
    if (backup) this.backup = async (path) => backup(await this.#open(), path);
  }

  observe(observer: TransitionObserver): void {
    this.#shared.transitions.observe(observer);
  }

  start(runner: TaskRunner | undefined, app: AppDescription = { tasks: [] }): Promise<void> {
    this.#starting = runInEmptyContext(() => this.#start(runner, app));
    return this.#starting;
  }

  async #start(runner: TaskRunner | undefined, { tasks }: AppDescription): Promise<void> {
    const opened = await this.#open();
    const { port, processes } = opened;
    const { owner, clock } = this.#shared;
    const { owners } = this.#storage;
    const lookForDead = async (): Promise<void> => {
      if (owners && !this.#stopped) await takeOver({ ...this.#shared, ...opened, owners });
    };
    await owners?.take(owner);
    await lookForDead();
    const schedules = this.#scheduler.names();
    const self = describeWorker(owner, runner?.concurrency ?? 0, { tasks, schedules });
    processes.add({ ...self, startedAt: clock.now() });
    if (owners) {
      this.#every('looking for dead processes', lookForDead);
      this.#every('the heartbeat of this process', () => owners.sign(owner));
    }
    this.#maintenance.start(opened);
    if (!runner) return;
    port.hold(true);
    this.#executor = createExecutor({
      ...{ ...this.#shared, ...opened, runner },
      stuckChanged: processes.update,
    });
    if (this.#stopping) throw hasStopped();
    this.startClaiming(this.#executor);
    this.#scheduler.start(opened);
  }

  /** Starts to claim tasks. */
  protected startClaiming(executor: Executor): void {
    executor.start();
  }

  #every(job: string, work: () => void | Promise<void>): void {
    const background = new Background(this.#shared.logger, job);
    this.#timers.add(this.#shared.clock.every(recoveryInterval, () => background.run(work)));
  }

  stop({ timeout }: { timeout: number }): Promise<void> {
    this.#stopping ??= this.#stop(timeout);
    return this.#stopping;
  }

  /**
   * Stops the engine. Claims and schedules stop immediately. Running handlers can still enqueue,
   * read and send commands until the drain has finished.
   */
  async #stop(timeout: number): Promise<void> {
    // Opening and starting create timers. They can only be cleared once all of them exist.
    await this.#starting?.catch(() => undefined);
    await this.#opening?.catch(() => undefined);
    this.#executor?.stopClaiming();
    this.#scheduler.stop();
    this.#maintenance.stop();
    this.#claims.stop();
    const drained = (await this.#executor?.drain(timeout)) ?? true;
    this.#stopped = true;
    for (const timer of this.#timers) timer.clear();
    this.#changed.close();
    if (this.#opened) await this.#close(this.#opened, drained);
  }

  async #close({ port, commits, processes, close }: Opened, drained: boolean): Promise<void> {
    this.#executor?.close();
    // If the drain timed out, returning the tasks has already removed this process from the list.
    if (this.#starting && drained) processes.remove(this.#shared.owner);
    await commits.close();
    port.hold(false);
    await close();
    await this.#storage.owners?.release(this.#shared.owner);
  }

  async enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    if (tasks.length === 0) return [];
    const { commits } = this.#opened ?? (await this.#open());
    if (this.#stopped) throw hasStopped();
    const ids = await commits.submit({ kind: 'enqueue', tasks: packTasks(tasks) });
    this.#shared.transitions.ofNew(tasks, ids);
    return ids ?? tasks.map(({ id }) => id);
  }

  schedule(schedule: Schedule): void {
    this.#scheduler.add(schedule);
    if (!this.#stopped) this.#opened?.processes.update({ schedules: this.#scheduler.names() });
  }

  async find(query: TaskQuery): Promise<TaskPage> {
    return (await this.#openChecked()).reader.find(query);
  }

  async get(...[id, options]: Parameters<TaskEngine['get']>): ReturnType<TaskEngine['get']> {
    return (await this.#openChecked()).reader.get(id, options?.logLines);
  }

  async logs(id: string, query: LogQuery): ReturnType<TaskEngine['logs']> {
    return (await this.#openChecked()).reader.logs(id, query);
  }

  async aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']> {
    const { database, reader } = await this.#openChecked();
    const now = this.#shared.clock.now();
    const lastSign = (owner: string): number => this.#storage.owners?.lastSign(owner, now) ?? 0;
    return aggregate({ database, reader, now, lastSign }, kind, query);
  }

  async describe(): ReturnType<TaskEngine['describe']> {
    return { ...(await this.#openChecked()).reader.describe(), engine: this.#storage.engine };
  }

  async *watch(after: number, signal: AbortSignal): ReturnType<TaskEngine['watch']> {
    const { reader } = await this.#open();
    yield* reader.watch(after, this.#changed, signal);
  }

  async control(command: Command, by: CommandBy): Promise<Outcome> {
    return (await this.#openChecked()).control(command, by);
  }

  /**
   * Opens the tables.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if the tables cannot be used, or if the file was
   * replaced after it was opened.
   */
  async #openChecked(): Promise<Opened> {
    const opened = await this.#open();
    opened.check?.();
    return opened;
  }

  #open(): Promise<Opened> {
    if (this.#stopped || (this.#stopping && !this.#opening)) return Promise.reject(hasStopped());
    if (this.#opened) return Promise.resolve(this.#opened);
    // The tables stay open after the request that first needed them.
    this.#opening ??= runInEmptyContext(() =>
      this.#connect().catch((error) => {
        // A file that cannot be used now may become usable later.
        this.#opening = undefined;
        throw error;
      }),
    );
    return this.#opening;
  }

  async #connect(): Promise<Opened> {
    const tables = await this.#storage.open(() => this.#lookForChanges());
    const database = forReading(tables.database);
    const reader = new Reader(database);
    const { owner, clock, logger, transitions } = this.#shared;
    const commits = createGroupCommit({
      port: tables.port,
      clock,
      claim: (reserved) => this.#executor?.claim(reserved),
      wanted: transitions.wanted,
      onClaimed: (result) => this.#executor?.begin(result),
      onDue: this.#claims.claimed,
      onClaimFailed: this.#claims.failed,
      onCommitted: () => this.#changed.notify(),
      handBack: () => this.#executor?.handBack(),
    });
    const control = createControl({
      ...{ ...this.#shared, reader, commits },
      cancelRunning: () => this.#executor?.cancel(reader.toCancel(owner)),
      schedulesChanged: this.#scheduler.refresh,
    });
    const processes = createProcessList({ database, commits, logger });
    this.#opened = { ...tables, database, reader, commits, processes, control };
    return this.#opened;
  }

  /** Resolves when all current writes are stored, together with the writes that they cause. */
  protected async idle(): Promise<void> {
    await this.#opened?.commits.idle();
  }

  /** Checks for tasks to run, if this process runs any. */
  #wake(): void {
    if (!this.#stopped) this.#opened?.commits.wake();
  }

  /** Handles commits of other processes: tasks to run, tasks to cancel and changes to show. */
  #lookForChanges(): void {
    this.#changed.notify();
    this.#executor?.cancel(this.#opened?.reader.toCancel(this.#shared.owner) ?? []);
    if (!this.#executor?.isStarted()) return;
    this.#scheduler.refresh();
    this.#wake();
  }
}

function hasStopped(): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped');
}
