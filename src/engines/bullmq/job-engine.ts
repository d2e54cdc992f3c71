import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Redis } from 'ioredis';
import { runInEmptyContext } from '../../empty-context.js';
import { type Logger, loggerOption } from '../../options.js';
import { allActions, type Command, type CommandBy, type Outcome } from '../../tasks/commands.js';
import type {
  AppDescription,
  Changes,
  EngineDescription,
  TaskEngine,
  TransitionObserver,
} from '../../tasks/engine.js';
import type { Aggregates, LogQuery, TaskPage, TaskQuery } from '../../tasks/engine-queries.js';
import type { NewTask, Schedule } from '../../tasks/new-task.js';
import type { EnginePromises } from '../../tasks/promises.js';
import type { TaskRunner } from '../../tasks/task-runner.js';
import type { LogLine, TaskDetail } from '../../tasks/types.js';
import type { RedisConnection } from './connection/connection-option.js';
import { endConnection, logOutages, openConnections } from './connection/connections.js';
import { RedisHealth } from './connection/health.js';
import {
  type Ask,
  commanding,
  type Effect,
  hasStopped,
  RedisCalls,
  storing,
  unlessUnreachable,
} from './connection/redis-calls.js';
import { RedisClock } from './connection/redis-clock.js';
import { withinTime } from './connection/redis-connection.js';
import { cancelRequested } from './control/cancellations.js';
import type { CommandDeps } from './control/command-deps.js';
import { JobSteps } from './control/job-steps.js';
import { controlQueue, queueStates } from './control/queue-pauses.js';
import { controlTasks } from './control/task-commands.js';
import { ChangeNotes } from './jobs/change-notes.js';
import { Enqueuer } from './jobs/enqueuer.js';
import { pendingSummary, statusOf } from './jobs/job-view.js';
import { engineKeys } from './keys.js';
import { Presence } from './processes/presence.js';
import { type PromisedOptions, redisPromises } from './promises.js';
import { LimitWarnings } from './queues/limit-warnings.js';
import { QueueCatalog } from './queues/queue-catalog.js';
import { Queues } from './queues/queues.js';
import { type KeptJobs, Retention } from './queues/retention.js';
import { EngineReads } from './read/engine-reads.js';
import { EngineWindow } from './read/engine-window.js';
import { type CountedQueues, MarkedJobs } from './read/marked-jobs.js';
import { readJob } from './read/task-detail.js';
import { CrashRecovery } from './run/crash-recovery.js';
import { Execution } from './run/execution.js';
import type { EndCalls } from './run/task-facts.js';
import { controlSchedule } from './schedules/schedule-commands.js';
import { Scheduler } from './schedules/scheduler.js';
import { type KeptStatistics, Statistics } from './statistics/statistics.js';
import { openRedisStore, type RedisStore } from './store/redis-store.js';

/** Options of a {@link JobEngine}, checked. */
export interface JobEngineOptions extends PromisedOptions {
  connection: RedisConnection;
  prefix: string;
  logger: Logger;
  kept: KeptJobs;
  statistics: KeptStatistics;
}

/** The options of an engine, and what its parts share. */
interface EngineParts extends JobEngineOptions, CountedQueues, EndCalls {
  /** The connection of workers, whose commands wait. `redis` is for calls. */
  patient: Redis;
  stalledInterval: number;
  clock: RedisClock;
  limitWarnings: LimitWarnings;
  changes: ChangeNotes;
  queues: Queues;
  /** The name of this process in lists of workers. It never changes. */
  name: string;
  ask: Ask;
}

/** Maximum milliseconds that a stop waits for Redis. */
const leaveTimeout = 2000;

/**
 * Tasks as BullMQ jobs. This class connects the parts and holds no rules of its own:
 *
 * - `Enqueuer` adds jobs, the functions in `control/` change them, and `EngineReads` and
 *   `EngineWindow` answer queries.
 * - A process that runs tasks also has an `Execution`, which runs the tasks of all queues, and a
 *   `Scheduler`, which enqueues the runs of schedules.
 * - Every started process shares the work for all of them: `CrashRecovery` ends the jobs of crashed
 *   workers, `Retention` removes expired jobs, `Presence` keeps the list of processes, and
 *   `Statistics` adds up the tasks that ended.
 *
 * Calls of the app use a connection that fails soon if Redis is unreachable. Workers use another
 * one, whose commands wait, so that no end of an attempt is lost.
 */
export class JobEngine implements TaskEngine {
  readonly can = allActions;
  readonly promises: EnginePromises;
  readonly store: RedisStore;
  readonly #parts: EngineParts;
  readonly #health: RedisHealth;
  readonly #enqueuer: Enqueuer;
  readonly #window: EngineWindow;
  readonly #reads: EngineReads;
  readonly #commands: CommandDeps;
  readonly #presence: Presence;
  readonly #retention: Retention;
  readonly #scheduler: Scheduler;
  readonly #statistics: Statistics;
  readonly #endOutageLog: () => void;
  #observer: TransitionObserver | undefined;
  #execution: Execution | undefined;
  #recovery: CrashRecovery | undefined;
  /** The calls to Redis that callers await. A stop waits for them. */
  readonly #calls: RedisCalls;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: JobEngineOptions) {
    const { connection, prefix, logger } = options;
    this.promises = redisPromises(options);
    const { asking: redis, patient } = openConnections(connection);
    const keys = engineKeys(prefix);
    this.#endOutageLog = logOutages(redis, logger);
    const clock = new RedisClock(redis, logger);
    this.#health = new RedisHealth({ redis, clock, logger, probe: keys.probe });
    this.#calls = new RedisCalls(redis, this.#health);
    const limitWarnings = new LimitWarnings(logger);
    const catalog = new QueueCatalog(redis, keys, (entry, defined) =>
      limitWarnings.compare(entry, defined),
    );
    const parts: EngineParts = {
      stalledInterval: 5000,
      ...options,
      redis,
      patient,
      keys,
      clock,
      catalog,
      limitWarnings,
      marked: new MarkedJobs(redis, keys),
      changes: new ChangeNotes(redis, keys),
      queues: new Queues(redis, keys),
      name: `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`,
      ask: this.#calls.ask,
      observer: () => this.#observer,
      ended: (task) => this.#statistics.ended(task),
    };
    this.#parts = parts;
    this.#enqueuer = new Enqueuer(parts);
    this.#window = new EngineWindow({ ...parts, limits: options.window });
    this.#commands = {
      ...parts,
      steps: new JobSteps(parts),
      reader: () => this.#window.open(),
      enqueue: (tasks) => this.#store(tasks, commanding),
      cancelHere: (members) => this.#execution?.executor.cancel(members),
    };
    this.#presence = new Presence({
      ...parts,
      load: () => this.#execution?.executor ?? { running: 0, slots: 0 },
      isClosed: () => this.#calls.isClosed,
      restore: () => Promise.all([catalog.restore(), this.#scheduler.seen()]),
    });
    this.#statistics = new Statistics({ ...parts, kept: options.statistics });
    this.#retention = new Retention(parts);
    this.#scheduler = new Scheduler({
      ...parts,
      enqueue: (task) => this.#enqueueRun(task),
      status: async (queue, id) => {
        const found = await readJob(parts.queues, queue, id);
        return found && statusOf(found.job, found.state);
      },
    });
    this.#reads = new EngineReads({
      ...parts,
      source: parts,
      statistics: this.#statistics,
      window: () => this.#window.open(),
      queueStates: () => queueStates(parts),
      workers: () => this.#presence.list(),
    });
    // The store logs nothing, because the engine already logs that the same Redis is unreachable.
    this.store = openRedisStore(connection, { prefix, logger: loggerOption('logger', false) });
  }

  observe(observer: TransitionObserver): void {
    this.#observer = observer;
  }

  start(runner: TaskRunner | undefined, app: AppDescription = { tasks: [] }): Promise<void> {
    this.#starting = runInEmptyContext(() => this.#start(runner, app));
    return this.#starting;
  }

  async #start(runner: TaskRunner | undefined, { tasks }: AppDescription): Promise<void> {
    if (this.#stopping) throw hasStopped();
    await this.#health.start();
    this.#presence.enter(runner?.concurrency ?? 0, { tasks, schedules: this.#scheduler.names() });
    const { patient } = this.#parts;
    try {
      // A process starts during an outage too, and runs tasks as soon as Redis is reachable.
      if (runner && patient.status === 'wait') await patient.connect().catch(unlessUnreachable);
      await this.#calls
        .ask(() => Promise.all([this.#presence.beat(), cancelRequested(this.#commands)]))
        .catch(unlessUnreachable);
    } catch (error) {
      this.#health.close();
      await this.#presence.leave().catch(() => undefined);
      throw error;
    }
    this.#presence.start();
    this.#recovery = new CrashRecovery({
      ...this.#parts,
      runsHere: (queue, jobId) => this.#execution?.executor.runs(queue, jobId) ?? false,
    });
    this.#recovery.start();
    this.#retention.start();
    if (!runner) return;
    this.#execution = new Execution({
      ...this.#parts,
      runner,
      asking: this.#parts.redis,
      redis: patient,
      changes: new ChangeNotes(patient, this.#parts.keys),
      presence: this.#presence,
      cancelTasks: () => cancelRequested(this.#commands),
      isStopping: () => this.#stopping !== undefined,
    });
    this.#execution.start();
    this.#scheduler.start();
  }

  stop({ timeout }: { timeout: number }): Promise<void> {
    this.#stopping ??= this.#stop(timeout);
    return this.#stopping;
  }

  async #stop(timeout: number): Promise<void> {
    await this.#starting?.catch(() => undefined);
    this.#retention.stop();
    this.#health.close();
    this.#presence.stop();
    await Promise.all([this.#scheduler.stop(), this.#execution?.executor.stop(timeout)]);
    this.#execution?.close();
    // If Redis hangs, it answers none of these calls, and the process must still be able to end.
    await withinTime(this.#leave(), leaveTimeout).catch(() => undefined);
    this.#calls.close();
    await this.#calls.settled();
    this.#endOutageLog();
    endConnection(this.#parts.patient);
    endConnection(this.#parts.redis);
    await this.store.close();
  }

  /** Writes pending data, and closes everything that uses the connections. */
  async #leave(): Promise<void> {
    await this.#recovery?.stop();
    this.#calls.close();
    await Promise.allSettled([this.#statistics.flush(), this.#presence.leave()]);
    await Promise.allSettled([
      this.#scheduler.close(),
      this.#window.close(),
      this.#parts.queues.close(),
    ]);
  }

  enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    return this.#store(tasks, storing);
  }

  async #store(tasks: readonly NewTask[], effect: Effect): Promise<readonly string[]> {
    if (tasks.length === 0) return [];
    this.#presence.checkSoon();
    // Redis stores them in one transaction, which takes a fraction of a millisecond per task.
    const ids = await this.#calls.ask(({ sending }) => this.#enqueuer.enqueue(tasks, sending), {
      ...effect,
      longer: tasks.length,
    });
    this.#added(tasks, ids);
    return ids;
  }

  /** Enqueues the task of a schedule. Returns its BullMQ queue. */
  async #enqueueRun(task: NewTask): Promise<string> {
    this.#added([task], await this.#enqueuer.enqueue([task]));
    return (await this.#parts.catalog.route(task)).queue;
  }

  #added(tasks: readonly NewTask[], ids: readonly string[]): void {
    this.#execution?.serve();
    if (this.#observer?.wants('pending'))
      for (const [n, task] of tasks.entries())
        if (ids[n] === task.id) this.#observer.tell(pendingSummary(task));
  }

  schedule(schedule: Schedule): void {
    this.#scheduler.add(schedule);
    this.#presence.update({ schedules: this.#scheduler.names() });
  }

  find(query: TaskQuery): Promise<TaskPage> {
    return this.#calls.ask(async () => (await this.#window.open()).find(query));
  }

  get(...[id, options]: Parameters<TaskEngine['get']>): Promise<TaskDetail | undefined> {
    return this.#reads.get(id, options?.logLines);
  }

  logs(id: string, query: LogQuery): Promise<readonly LogLine[]> {
    return this.#reads.logs(id, query);
  }

  aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']> {
    return this.#reads.aggregate(kind, query);
  }

  describe(): Promise<EngineDescription> {
    return this.#reads.describe(() => this.#scheduler.states());
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    await this.#calls.ask(async () => (await this.#window.open()).revs());
    yield* (await this.#window.open()).watch(after, signal);
  }

  control(command: Command, by: CommandBy): Promise<Outcome> {
    if ('schedule' in command)
      return this.#calls.ask(({ sending, changed }) => {
        sending();
        return controlSchedule(this.#scheduler, command, by, changed);
      }, commanding);
    if ('queue' in command) return controlQueue(this.#commands, command, by);
    return controlTasks(this.#commands, command, by);
  }
}
