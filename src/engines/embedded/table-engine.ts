import { randomUUID } from 'node:crypto';
import { Background } from '../../background.js';
import { runInEmptyContext } from '../../empty-context.js';
import { TaskflowError } from '../../errors.js';
import { Notifier } from '../../notifier.js';
import type { Logger } from '../../options.js';
import { allActions } from '../../tasks/commands.js';
import type { AppDescription, TaskEngine } from '../../tasks/engine.js';
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

/** Options of {@link createTableEngine}. */
export interface TableEngineOptions {
  storage: StorageBackend;
  logger: Logger;
  retention: Retention;
  /** The clock. Default: the clock of the process. */
  clock?: Clock;
  /** Starts to claim tasks. Default: whenever slots are free. */
  startClaiming?(executor: Executor): void;
}

/** An engine whose tables are in one database. */
export interface TableEngine extends TaskEngine {
  /** Resolves when all current writes are stored, together with the writes that they cause. */
  idle(): Promise<void>;
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
 * - The engine opens and closes the parts in an order in which no task is lost, and delegates each
 *   call to one of them.
 */

/**
 * Creates an engine that runs the tasks of tables that are written in batches. Several processes
 * may have the tables open.
 */
export function createTableEngine({
  storage,
  logger,
  retention,
  clock = systemClock,
  startClaiming = (given) => given.start(),
}: TableEngineOptions): TableEngine {
  const owner = randomUUID();
  const transitions = createTransitions(logger);
  /** Checks for tasks to run, if this process runs any. */
  const wake = (): void => {
    if (!stopped) opened?.commits.wake();
  };
  const shared: Shared = { owner, clock, logger, transitions, wake };
  const maintenance = createMaintenance({ ...shared, retention });
  const claims = createClaimTimer(shared);
  const scheduler = createScheduleTimers(shared);
  const timers: Timer[] = [];
  /** Notifies after each commit of this or another process. */
  const changed = new Notifier();
  const { owners, enqueueIn, backup } = storage;
  let opening: Promise<Opened> | undefined;
  let starting: Promise<void> | undefined;
  /** Set once the tables are open. Timers use it until the stop has finished. */
  let opened: Opened | undefined;
  let executor: Executor | undefined;
  let stopping: Promise<void> | undefined;
  /** Whether the drain has finished. Nothing is read or written after that. */
  let stopped = false;

  const startParts = async (
    runner: TaskRunner | undefined,
    { tasks }: AppDescription,
  ): Promise<void> => {
    const parts = await open();
    const { port, processes } = parts;
    const lookForDead = async (): Promise<void> => {
      if (owners && !stopped) await takeOver({ ...shared, ...parts, owners });
    };
    await owners?.take(owner);
    await lookForDead();
    const schedules = scheduler.names();
    const self = describeWorker(owner, runner?.concurrency ?? 0, { tasks, schedules });
    processes.add({ ...self, startedAt: clock.now() });
    if (owners) {
      repeat('looking for dead processes', lookForDead);
      repeat('the heartbeat of this process', () => owners.sign(owner));
    }
    maintenance.start(parts);
    if (!runner) return;
    port.hold(true);
    executor = createExecutor({ ...shared, ...parts, runner, stuckChanged: processes.update });
    if (stopping) throw hasStopped();
    startClaiming(executor);
    scheduler.start(parts);
  };

  const repeat = (job: string, work: () => Promise<void>): void => {
    const background = new Background(logger, job);
    timers.push(clock.every(recoveryInterval, () => background.run(work)));
  };

  /**
   * Stops the engine. Claims and schedules stop immediately. Running handlers can still enqueue,
   * read and send commands until the drain has finished.
   */
  const stopParts = async (timeout: number): Promise<void> => {
    // Opening and starting create timers. They can only be cleared once all of them exist.
    await starting?.catch(() => undefined);
    await opening?.catch(() => undefined);
    executor?.stopClaiming();
    scheduler.stop();
    maintenance.stop();
    claims.stop();
    const drained = (await executor?.drain(timeout)) ?? true;
    stopped = true;
    for (const timer of timers) timer.clear();
    changed.close();
    if (opened) await close(opened, drained);
  };

  const close = async (parts: Opened, drained: boolean): Promise<void> => {
    executor?.close();
    // If the drain timed out, returning the tasks has already removed this process from the list.
    if (starting && drained) parts.processes.remove(owner);
    await parts.commits.close();
    parts.port.hold(false);
    await parts.close();
    owners?.release(owner);
  };

  /**
   * Opens the tables.
   *
   * @throws TaskflowError ENGINE_UNAVAILABLE if the tables cannot be used, or if the file was
   * replaced after it was opened.
   */
  const openChecked = async (): Promise<Opened> => {
    const parts = await open();
    parts.check?.();
    return parts;
  };

  const open = (): Promise<Opened> => {
    if (stopped || (stopping && !opening)) return Promise.reject(hasStopped());
    if (opened) return Promise.resolve(opened);
    // The tables stay open after the request that first needed them.
    opening ??= runInEmptyContext(() =>
      connect().catch((error) => {
        // A file that cannot be used now may become usable later.
        opening = undefined;
        throw error;
      }),
    );
    return opening;
  };

  const connect = async (): Promise<Opened> => {
    const tables = await storage.open(lookForChanges);
    const database = forReading(tables.database);
    const reader = new Reader(database);
    const commits = createGroupCommit({
      port: tables.port,
      clock,
      claim: (reserved) => executor?.claim(reserved),
      wanted: transitions.wanted,
      onClaimed: (result) => executor?.begin(result),
      onDue: claims.claimed,
      onClaimFailed: claims.failed,
      onCommitted: () => changed.notify(),
      handBack: () => executor?.handBack(),
    });
    const control = createControl({
      ...shared,
      reader,
      commits,
      cancelRunning: () => executor?.cancel(reader.toCancel(owner)),
      schedulesChanged: scheduler.refresh,
    });
    const processes = createProcessList({ database, commits, logger });
    opened = { ...tables, database, reader, commits, processes, control };
    return opened;
  };

  /** Handles commits of other processes: tasks to run, tasks to cancel and changes to show. */
  const lookForChanges = (): void => {
    changed.notify();
    executor?.cancel(opened?.reader.toCancel(owner) ?? []);
    if (!executor?.isStarted()) return;
    scheduler.refresh();
    wake();
  };

  return {
    can: allActions,
    promises: storage.promises,
    store: embeddedStore(async () => ({ ...(await openChecked()), changed })),
    observe: transitions.observe,
    ...(enqueueIn && { enqueueIn }),
    ...(backup && { backup: async (path) => backup(await open(), path) }),

    start(runner, app = { tasks: [] }) {
      starting = runInEmptyContext(() => startParts(runner, app));
      return starting;
    },

    stop({ timeout }) {
      stopping ??= stopParts(timeout);
      return stopping;
    },

    async enqueue(tasks) {
      if (tasks.length === 0) return [];
      const { commits } = opened ?? (await open());
      if (stopped) throw hasStopped();
      const ids = await commits.submit({ kind: 'enqueue', tasks: packTasks(tasks) });
      transitions.ofNew(tasks, ids);
      return ids ?? tasks.map(({ id }) => id);
    },

    schedule(schedule) {
      scheduler.add(schedule);
      if (!stopped) opened?.processes.update({ schedules: scheduler.names() });
    },

    async find(query) {
      return (await openChecked()).reader.find(query);
    },

    async get(id, options) {
      return (await openChecked()).reader.get(id, options?.logLines);
    },

    async logs(id, query) {
      return (await openChecked()).reader.logs(id, query);
    },

    async aggregate(kind, ...query) {
      const { database, reader } = await openChecked();
      const now = clock.now();
      const lastSign = (process: string): number => owners?.lastSign(process, now) ?? 0;
      return aggregate({ database, reader, now, lastSign }, kind, query);
    },

    async describe() {
      return { ...(await openChecked()).reader.describe(), engine: storage.engine };
    },

    async *watch(after, signal) {
      const { reader } = await open();
      yield* reader.watch(after, changed, signal);
    },

    async control(command, by) {
      return (await openChecked()).control(command, by);
    },

    async idle() {
      await opened?.commits.idle();
    },
  };
}

function hasStopped(): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped');
}
