import { randomUUID } from 'node:crypto';
import { Background } from '../../background.js';
import { runInEmptyContext } from '../../empty-context.js';
import { TaskflowError } from '../../errors.js';
import type { Logger } from '../../options.js';
import type { SharedStore } from '../../store/shared-store.js';
import type { Action, Command, CommandBy, Outcome } from '../../tasks/commands.js';
import type { AppDescription, TaskEngine, TransitionObserver } from '../../tasks/engine.js';
import type { Aggregates } from '../../tasks/engine-queries.js';
import type { NewTask, Schedule } from '../../tasks/new-task.js';
import type { EnginePromises } from '../../tasks/promises.js';
import type { TaskRunner } from '../../tasks/task-runner.js';
import { Notifier } from '../notifier.js';
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
  /** Where the time comes from. Default: the clock of the process. */
  clock?: Clock;
}

/** Milliseconds between two looks for dead processes, and between two heartbeats. */
const recoveryInterval = 1000;

/** What exists while the tables are open. */
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
 *   transactions. `Reader` reads on a connection of its own.
 * - `Executor` claims tasks and runs them; `ClaimTimer` wakes it when a waiting task is due, and
 *   `ScheduleTimers` makes the tasks of schedules.
 * - `ProcessList` and `Recovery` let processes on one file know of each other, and take over from
 *   those that die.
 * - `Commands` carries out what operators ask for, `Maintenance` deletes what is too old, and
 *   `Transitions` notifies the app. This class opens and closes them, in an order in which no task
 *   is lost, and passes each call on.
 */

/**
 * Runs the tasks of tables that are written in batches, wherever those are kept: any number of
 * processes may have them open.
 */
export class TableEngine implements TaskEngine {
  readonly can: ReadonlySet<Action> = new Set([
    'retry',
    'rerun',
    'cancel',
    'delete',
    'run',
    'pause',
    'resume',
    'remove',
  ]);
  readonly promises: EnginePromises;
  readonly store: SharedStore;
  readonly enqueueIn?: NonNullable<TaskEngine['enqueueIn']>;
  readonly backup?: NonNullable<TaskEngine['backup']>;
  readonly #storage: StorageBackend;
  readonly #logger: Logger;
  readonly #time: Clock;
  readonly #owner = randomUUID();
  /** Notifies after each commit, of this process or of another. */
  readonly #changed = new Notifier();
  readonly #timers = new Set<Timer>();
  readonly #transitions: Transitions;
  readonly #scheduler: ScheduleTimers;
  readonly #maintenance: Maintenance;
  readonly #claims: ClaimTimer;
  #opening: Promise<Opened> | undefined;
  #starting: Promise<void> | undefined;
  /** Set once the tables are open. What runs by itself uses it until the very end of a stop. */
  #opened: Opened | undefined;
  #executor: Executor | undefined;
  #stopping: Promise<void> | undefined;
  /** Whether the drain has ended. Nothing is read or written from then on. */
  #stopped = false;

  constructor({ storage, logger, retention, clock = systemClock }: TableEngineOptions) {
    const wake = (): void => this.#wake();
    this.#storage = storage;
    this.promises = storage.promises;
    this.#logger = logger;
    this.#time = clock;
    this.#transitions = new Transitions(logger);
    this.#maintenance = new Maintenance({ logger, clock, retention, dueEarlier: wake });
    this.#claims = new ClaimTimer({ logger, clock, look: wake });
    this.#scheduler = new ScheduleTimers({
      logger,
      clock,
      wake,
      made: (row) => this.#transitions.ofRows([row]),
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
    this.#transitions.observe(observer);
  }

  start(runner: TaskRunner | undefined, app: AppDescription = { tasks: [] }): Promise<void> {
    this.#starting = runInEmptyContext(() => this.#start(runner, app));
    return this.#starting;
  }

  async #start(runner: TaskRunner | undefined, { tasks }: AppDescription): Promise<void> {
    const opened = await this.#open();
    const { port, commits, processes } = opened;
    await this.#storage.owners?.take(this.#owner);
    await this.#watchProcesses(opened, () => {
      const self = describeWorker(this.#owner, runner?.concurrency ?? 0, {
        tasks,
        schedules: this.#scheduler.names(),
      });
      processes.add({ ...self, startedAt: this.#time.now() });
    });
    this.#maintenance.start(opened);
    if (!runner) return;
    port.hold(true);
    this.#executor = new Executor({
      ...{
        owner: this.#owner,
        runner,
        commits,
        transitions: this.#transitions,
        clock: this.#time,
        logger: this.#logger,
      },
      stuckChanged: (stuck) => processes.update(stuck),
    });
    if (this.#stopping) throw hasStopped();
    this.startClaiming(this.#executor);
    this.#scheduler.start(opened);
  }

  /** Begins to run tasks. */
  protected startClaiming(executor: Executor): void {
    executor.start();
  }

  /**
   * Takes over from dead processes before this one registers, and looks for more of them from then
   * on.
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
    const [owner, clock, logger, transitions] = [
      this.#owner,
      this.#time,
      this.#logger,
      this.#transitions,
    ];
    const wake = (): void => this.#wake();
    const recovery = new Recovery({
      owner,
      owners,
      reader,
      commits,
      processes,
      transitions,
      clock,
      logger,
      wake,
    });
    await recovery.look();
    register();
    this.#every('looking for dead processes', async () => {
      if (!this.#stopped) await recovery.look();
    });
    this.#every('the heartbeat of this process', () => owners.sign(owner));
  }

  #every(job: string, work: () => void | Promise<void>): void {
    const background = new Background(this.#logger, job);
    this.#timers.add(this.#time.every(recoveryInterval, () => background.run(work)));
  }

  stop({ timeout }: { timeout: number }): Promise<void> {
    this.#stopping ??= this.#stop(timeout);
    return this.#stopping;
  }

  /**
   * Handlers that run can enqueue, read and command until the drain has ended. Claims and schedules
   * end at once.
   */
  async #stop(timeout: number): Promise<void> {
    // What is being opened or started makes timers of its own: they end once all of them are there.
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
    // What was handed back took this process off the list.
    if (this.#starting && drained) processes.remove(this.#owner);
    await commits.close();
    port.hold(false);
    await close();
    await this.#storage.owners?.release(this.#owner);
  }

  async enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    if (tasks.length === 0) return [];
    const { commits } = this.#opened ?? (await this.#open());
    if (this.#stopped) throw hasStopped();
    const ids = await commits.submit<'enqueue'>({ kind: 'enqueue', tasks: packTasks(tasks) });
    this.#transitions.ofNew(tasks, ids);
    return ids ?? tasks.map(({ id }) => id);
  }

  schedule(schedule: Schedule): void {
    this.#scheduler.add(schedule);
    if (!this.#stopped) this.#opened?.processes.update({ schedules: this.#scheduler.names() });
  }

  async find(query: Parameters<TaskEngine['find']>[0]): ReturnType<TaskEngine['find']> {
    return (await this.#openChecked()).reader.find(query);
  }

  async get(...[id, options]: Parameters<TaskEngine['get']>): ReturnType<TaskEngine['get']> {
    return (await this.#openChecked()).reader.get(id, options?.logLines);
  }

  async logs(id: string, query: Parameters<TaskEngine['logs']>[1]): ReturnType<TaskEngine['logs']> {
    return (await this.#openChecked()).reader.logs(id, query);
  }

  async aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']> {
    const { database, reader } = await this.#openChecked();
    const now = this.#time.now();
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
   * Opens the tables. @throws TaskflowError ENGINE_UNAVAILABLE also if the file is not the one that
   * was opened any more.
   */
  async #openChecked(): Promise<Opened> {
    const opened = await this.#open();
    opened.check?.();
    return opened;
  }

  #open(): Promise<Opened> {
    if (this.#stopped || (this.#stopping && !this.#opening)) return Promise.reject(hasStopped());
    if (this.#opened) return Promise.resolve(this.#opened);
    // What is opened outlives the request that needed it first.
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
    const [clock, logger, transitions] = [this.#time, this.#logger, this.#transitions];
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
      ...{ reader, commits, transitions, clock },
      cancelRunning: () => this.#executor?.cancel(reader.toCancel(this.#owner)),
      schedulesChanged: () => this.#scheduler.refresh(),
      wake: () => this.#wake(),
    });
    this.#opened = { ...tables, database, reader, commits, processes, commands };
    return this.#opened;
  }

  /** Resolves when everything that was begun is stored, and what follows from it at once. */
  protected async idle(): Promise<void> {
    await this.#opened?.commits.idle();
  }

  /** Looks for tasks to run, if this process runs any. */
  #wake(): void {
    if (!this.#stopped) this.#opened?.commits.wake();
  }

  /** Notices what other processes committed: tasks to run, tasks to cancel, changes to show. */
  #lookForChanges(): void {
    this.#changed.notify();
    this.#executor?.cancel(this.#opened?.reader.toCancel(this.#owner) ?? []);
    if (!this.#executor?.isStarted) return;
    this.#scheduler.refresh();
    this.#wake();
  }
}

function hasStopped(): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped');
}
