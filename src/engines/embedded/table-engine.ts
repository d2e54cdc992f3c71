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
import { Commands } from './commands.js';
import { GroupCommit } from './group-commit.js';
import { Maintenance, type Retention } from './maintenance.js';
import { ProcessList } from './processes.js';
import { Recovery } from './recovery.js';
import { ClaimTimer } from './run/claim-timer.js';
import { Executor } from './run/executor.js';
import { ScheduleTimers } from './run/schedule-timers.js';
import type { OpenTables, StorageBackend } from './storage-backend.js';
import { embeddedStore } from './store.js';
import { Transitions } from './transitions.js';

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

/** The dependencies that most parts share. */
interface Shared {
  /** The id of this process. */
  owner: string;
  clock: Clock;
  logger: Logger;
  transitions: Transitions;
  /** Checks for tasks to run. */
  wake(): void;
}

/** The parts that exist while the tables are open. */
interface Opened extends OpenTables {
  reader: Reader;
  commits: GroupCommit;
  processes: ProcessList;
  commands: Commands;
}

/*
 * How the parts of the engine work together:
 * - The backend (`StorageBackend`) opens the tables: a file with a thread that writes it, or
 *   memory.
 * - Every change is a write that goes through `GroupCommit`, which gathers writes and claims into
 *   transactions. `Reader` reads on a separate connection.
 * - `Executor` claims tasks and runs them. `ClaimTimer` wakes it when a delayed task is due.
 *   `ScheduleTimers` creates the tasks of schedules.
 * - `ProcessList` registers the processes that use a file. `Recovery` takes over the tasks of dead
 *   processes.
 * - `Commands` runs the commands of operators, `Maintenance` deletes old data, and `Transitions`
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
  readonly #scheduler: ScheduleTimers;
  readonly #maintenance: Maintenance;
  readonly #claims: ClaimTimer;
  #opening: Promise<Opened> | undefined;
  #starting: Promise<void> | undefined;
  /** Set once the tables are open. Timers use it until the stop has finished. */
  #opened: Opened | undefined;
  #executor: Executor | undefined;
  #stopping: Promise<void> | undefined;
  /** Whether the drain has finished. Nothing is read or written after that. */
  #stopped = false;

  constructor({ storage, logger, retention, clock = systemClock }: TableEngineOptions) {
    const wake = (): void => this.#wake();
    const transitions = new Transitions(logger);
    this.#shared = { owner: randomUUID(), clock, logger, transitions, wake };
    this.#storage = storage;
    this.promises = storage.promises;
    this.#maintenance = new Maintenance({ logger, clock, retention, dueEarlier: wake });
    this.#claims = new ClaimTimer({ logger, clock, look: wake });
    this.#scheduler = new ScheduleTimers({
      ...this.#shared,
      made: (row) => transitions.ofRows([row]),
    });
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
    const { port, commits, processes } = opened;
    await this.#storage.owners?.take(this.#shared.owner);
    await this.#watchProcesses(opened, () => {
      const self = describeWorker(this.#shared.owner, runner?.concurrency ?? 0, {
        tasks,
        schedules: this.#scheduler.names(),
      });
      processes.add({ ...self, startedAt: this.#shared.clock.now() });
    });
    this.#maintenance.start(opened);
    if (!runner) return;
    port.hold(true);
    this.#executor = new Executor({
      ...this.#shared,
      runner,
      commits,
      stuckChanged: (stuck) => processes.update(stuck),
    });
    if (this.#stopping) throw hasStopped();
    this.startClaiming(this.#executor);
    this.#scheduler.start(opened);
  }

  /** Starts to claim tasks. */
  protected startClaiming(executor: Executor): void {
    executor.start();
  }

  /**
   * Takes over the tasks of dead processes, registers this process, and then keeps checking for
   * dead processes.
   */
  async #watchProcesses(
    { reader, commits, processes }: Opened,
    register: () => void,
  ): Promise<void> {
    const { owners } = this.#storage;
    if (!owners) {
      register();
      return;
    }
    const recovery = new Recovery({ ...this.#shared, owners, reader, commits, processes });
    await recovery.look();
    register();
    this.#every('looking for dead processes', async () => {
      if (!this.#stopped) await recovery.look();
    });
    this.#every('the heartbeat of this process', () => owners.sign(this.#shared.owner));
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
    return (await this.#openChecked()).commands.control(command, by);
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
    const { owner, clock, logger, transitions, wake } = this.#shared;
    const commits = new GroupCommit({
      port: tables.port,
      clock,
      claim: (reserved) => this.#executor?.claim(reserved),
      wanted: () => transitions.wanted(),
      onClaimed: (result) => this.#executor?.begin(result),
      onDue: (nextDue) => this.#claims.claimed(nextDue),
      onClaimFailed: (error) => this.#claims.failed(error),
      onCommitted: () => this.#changed.notify(),
      handBack: () => this.#executor?.handBack(),
    });
    const processes = new ProcessList({ database, commits, logger });
    const commands = new Commands({
      ...{ reader, commits, transitions, clock, wake },
      cancelRunning: () => this.#executor?.cancel(reader.toCancel(owner)),
      schedulesChanged: () => this.#scheduler.refresh(),
    });
    this.#opened = { ...tables, database, reader, commits, processes, commands };
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
    if (!this.#executor?.isStarted) return;
    this.#scheduler.refresh();
    this.#wake();
  }
}

function hasStopped(): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped');
}
