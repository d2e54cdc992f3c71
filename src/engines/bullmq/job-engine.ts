import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Background } from '../../background.js';
import { runInEmptyContext } from '../../empty-context.js';
import { TaskflowError } from '../../errors.js';
import { type Logger, loggerOption } from '../../options.js';
import type { SharedStore } from '../../store/shared-store.js';
import type {
  Action,
  Aggregates,
  AppDescription,
  Changes,
  Command,
  CommandBy,
  EngineDescription,
  LogQuery,
  NewTask,
  Outcome,
  Schedule,
  TaskEngine,
  TaskPage,
  TaskQuery,
  TaskRunner,
  TransitionObserver,
} from '../../tasks/engine.js';
import type { EnginePromises } from '../../tasks/promises.js';
import type { LogLine, TaskDetail } from '../../tasks/types.js';
import { describeWorker } from '../embedded/workers.js';
import type { WorkerRow } from '../embedded/write.js';
import { ChangeNotes, memberOf } from './change-notes.js';
import type { RedisConnection } from './connection-option.js';
import { type Connections, endConnection, isAnswer, isConnectionError, logOutages, openConnections, RedisWork } from './connections.js';
import { commandActions, EngineCommands } from './control/engine-commands.js';
import { DataMark } from './data-mark.js';
import { Enqueuer } from './enqueuer.js';
import { RedisHealth } from './health.js';
import { Instances } from './instances.js';
import { pendingSummary, statusOf } from './job-view.js';
import { EngineKeys } from './keys.js';
import { LimitWarnings } from './limit-warnings.js';
import { redisPromises } from './promises.js';
import { QueueCatalog } from './queue-catalog.js';
import { Queues } from './queues.js';
import { type CountSource, readPulse } from './read/counts.js';
import { LazyReadModel } from './read/lazy-read-model.js';
import { countFailed, readLive } from './read/live-counts.js';
import { logOf, readLines } from './read/log-lines.js';
import type { ReadModel } from './read/read-model.js';
import { findJob } from './read/stored-jobs.js';
import { readJob, readTask } from './read/task-detail.js';
import { readWaits } from './read/waits.js';
import type { WindowLimits } from './read/window-feed.js';
import { WindowModel } from './read/window-model.js';
import { commanding, type Effect, hasStopped, RedisCalls, storing } from './redis-calls.js';
import { withinTime } from './redis-connection.js';
import { openRedisStore } from './redis-store.js';
import { Retention } from './retention.js';
import { Executor, type KeptJobs } from './run/executor.js';
import { Settler } from './run/settler.js';
import { Scheduler } from './schedules/scheduler.js';
import { type KeptStatistics, Statistics } from './statistics/statistics.js';

/** Options of a {@link JobEngine}, checked. */
export interface JobEngineOptions {
  connection: RedisConnection;
  prefix: string;
  logger: Logger;
  /** Milliseconds after which a job without a sign of its worker counts as crashed. */
  lockDuration: number;
  /** Milliseconds between two looks for crashed jobs, over all processes. Default 5,000. */
  stalledInterval?: number;
  kept: KeptJobs;
  statistics: KeptStatistics;
  /** How many tasks a process that reads keeps in memory. */
  window?: WindowLimits;
}

/** Milliseconds between two looks at what other processes asked for: new queues, and running tasks to cancel. */
const pollInterval = 500;
/** Milliseconds between two heartbeats of this process. */
const heartbeatInterval = 5000;
/** Milliseconds that a stop waits for Redis. */
const leaveTimeout = 2000;

const dataLost =
  'Redis has lost its data: the tasks, pauses and ended sessions in it are gone; this process has stored its queues and schedules again';

/** Tasks as BullMQ jobs. */
export class JobEngine implements TaskEngine {
  readonly can: ReadonlySet<Action> = commandActions;
  readonly promises: EnginePromises;
  readonly store: SharedStore;
  readonly #options: JobEngineOptions;
  readonly #keys: EngineKeys;
  readonly #connections: Connections;
  readonly #health: RedisHealth;
  readonly #catalog: QueueCatalog;
  readonly #limitWarnings: LimitWarnings;
  readonly #changes: ChangeNotes;
  readonly #enqueuer: Enqueuer;
  readonly #queues: Queues;
  /** Where what is not in the window is read. */
  readonly #reader: CountSource;
  readonly #reading: ReadModel;
  readonly #commands: EngineCommands;
  readonly #polling: Background;
  readonly #beating: Background;
  readonly #instances: Instances;
  readonly #mark: DataMark;
  readonly #retention: Retention;
  readonly #scheduler: Scheduler;
  readonly #statistics: Statistics;
  readonly #closeStore: () => Promise<void>;
  readonly #endOutageLog: () => void;
  /** What this process is called in lists of workers, the same for its whole life. */
  readonly #name = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  readonly #owner = randomUUID();
  #self: WorkerRow | undefined;
  #observer: TransitionObserver | undefined;
  #executor: Executor | undefined;
  #settler: Settler | undefined;
  #timers = new Set<NodeJS.Timeout>();
  /** What callers asked Redis and await. A stop waits for it. */
  readonly #calls: RedisCalls;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: JobEngineOptions) {
    const { connection, prefix, logger, window } = options;
    this.#options = options;
    this.promises = redisPromises(options);
    this.#keys = new EngineKeys(prefix);
    this.#connections = openConnections(connection);
    const redis = this.#connections.asking;
    this.#endOutageLog = logOutages(redis, logger);
    this.#health = new RedisHealth({ redis, probe: this.#keys.probe, logger });
    this.#calls = new RedisCalls(redis, this.#health);
    this.#limitWarnings = new LimitWarnings(logger);
    this.#catalog = new QueueCatalog(redis, this.#keys, this.#limitWarnings);
    this.#changes = new ChangeNotes(redis, this.#keys);
    this.#enqueuer = new Enqueuer({ redis, keys: this.#keys, catalog: this.#catalog, changes: this.#changes });
    this.#queues = new Queues(redis, this.#keys);
    this.#reader = { redis, keys: this.#keys, catalog: this.#catalog };
    this.#reading = new LazyReadModel(() => WindowModel.open({ ...this.#reader, logger, ...(window && { limits: window }) }));
    this.#commands = new EngineCommands({
      ...{ redis, keys: this.#keys, catalog: this.#catalog, kept: options.kept },
      ask: this.#calls.ask,
      reader: this.#reading,
      observer: () => this.#observer,
      enqueue: (tasks) => this.#store(tasks, commanding),
      ended: (task) => this.#statistics.ended(task),
      cancelHere: (members) => this.#executor?.cancel((queue, jobId) => members.has(memberOf({ queue, jobId }))),
    });
    this.#polling = new RedisWork(logger, 'looking for new queues and tasks to cancel');
    this.#beating = new RedisWork(logger, 'the heartbeat of this process');
    this.#instances = new Instances(redis, this.#keys);
    this.#mark = new DataMark(redis, this.#keys);
    this.#statistics = new Statistics({ redis, keys: this.#keys, logger, kept: options.statistics });
    this.#retention = new Retention({
      ...{ redis, keys: this.#keys, catalog: this.#catalog, queues: this.#queues, changes: this.#changes },
      ...{ kept: options.kept, name: this.#name, logger },
    });
    this.#scheduler = new Scheduler({
      ...{ redis, patient: this.#connections.patient, keys: this.#keys, name: this.#name, logger },
      enqueue: (task) => this.#enqueueRun(task),
      status: async (queue, id) => {
        const found = await readJob(this.#queues, queue, id);
        return found && statusOf(found.job, found.state);
      },
    });
    // The store is on the same Redis, and one line in the log is enough for both.
    const store = openRedisStore(connection, { prefix, logger: loggerOption('logger', false) });
    [this.store, this.#closeStore] = [store, () => store.close()];
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
    this.#self = describeWorker(this.#owner, runner?.concurrency ?? 0, { tasks, schedules: this.#scheduler.names() });
    const { patient, asking } = this.#connections;
    try {
      // An outage of Redis must not keep a process from starting: it runs tasks as soon as Redis is back.
      if (runner && patient.status === 'wait') await patient.connect().catch(unlessUnreachable);
      await this.#calls.ask(() => Promise.all([this.#beat(), this.#commands.poll()])).catch(unlessUnreachable);
    } catch (error) {
      this.#self = undefined;
      this.#health.close();
      await this.#instances.leave(this.#owner).catch(() => undefined);
      throw error;
    }
    this.#every(heartbeatInterval, this.#beatSoon);
    asking.on('ready', this.#beatSoon);
    this.#settle();
    this.#retention.start();
    if (!runner) return;
    const { logger, lockDuration, kept } = this.#options;
    this.#executor = new Executor({
      ...{ runner, logger, lockDuration, kept, limitWarnings: this.#limitWarnings },
      ...{ keys: this.#keys, redis: patient, changes: new ChangeNotes(patient, this.#keys), name: this.#name },
      observer: () => this.#observer,
      ended: (task) => this.#statistics.ended(task),
      stuckChanged: (stuck) => {
        if (this.#self) this.#self = { ...this.#self, ...stuck };
        this.#beatSoon();
      },
    });
    this.#executor.serve(this.#catalog.all());
    this.#every(pollInterval, () => this.#polling.run(() => this.#poll()));
    runner.onChange(() => this.#polling.run(() => this.#poll()));
    this.#scheduler.start();
  }

  /** Timers that never keep the process alive, and end with the engine. */
  #every(milliseconds: number, work: () => void): void {
    this.#timers.add(setInterval(work, milliseconds).unref());
  }

  readonly #beatSoon = (): void => this.#beating.run(() => this.#beat());

  /** Tells the other processes of this one, and stores again what this one defines if Redis has lost its data. */
  async #beat(): Promise<void> {
    if (!this.#self || this.#calls.isClosed) return;
    const heartbeat = this.#instances.heartbeat(this.#self, this.#executor?.running ?? 0);
    const [isOther] = await Promise.all([this.#mark.isOther(), this.#catalog.refresh(), this.#scheduler.seen(), heartbeat]);
    if (isOther) this.#options.logger.error({ redis: this.#health.place }, dataLost);
  }

  /** Begins to take over from processes that die. */
  #settle(): void {
    const { logger, lockDuration, stalledInterval = 5000, kept } = this.#options;
    this.#settler = new Settler({
      ...{ redis: this.#connections.asking, keys: this.#keys, catalog: this.#catalog, changes: this.#changes, name: this.#name },
      ...{ logger, lockDuration, stalledInterval, kept },
      observer: () => this.#observer,
      ended: (task) => this.#statistics.ended(task),
      runsHere: (queue, jobId) => this.#executor?.runs(queue, jobId) ?? false,
    });
    this.#settler.start();
  }

  /** Looks for what other processes asked for. */
  async #poll(): Promise<void> {
    await Promise.all([this.#catalog.refresh(), this.#commands.poll()]);
    this.#executor?.serve(this.#catalog.all());
  }

  stop({ timeout }: { timeout: number }): Promise<void> {
    this.#stopping ??= this.#stop(timeout);
    return this.#stopping;
  }

  async #stop(timeout: number): Promise<void> {
    await this.#starting?.catch(() => undefined);
    for (const timer of this.#timers) clearInterval(timer);
    this.#retention.stop();
    this.#health.close();
    this.#connections.asking.off('ready', this.#beatSoon);
    await Promise.all([this.#scheduler.stop(), this.#executor?.stop(timeout)]);
    // If Redis hangs, it answers none of these calls. The process must be able to end all the same.
    await withinTime(this.#leave(), leaveTimeout).catch(() => undefined);
    this.#calls.close();
    await this.#calls.settled();
    this.#endOutageLog();
    endConnection(this.#connections.patient);
    endConnection(this.#connections.asking);
    await this.#closeStore();
  }

  /** Writes what is still in hand, and ends what uses the connections. */
  async #leave(): Promise<void> {
    await this.#settler?.stop();
    this.#calls.close();
    await Promise.allSettled([this.#statistics.flush(), this.#self && this.#instances.leave(this.#owner)]);
    await Promise.allSettled([this.#scheduler.close(), this.#reading.close(), this.#queues.close()]);
  }

  enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    return this.#store(tasks, storing);
  }

  async #store(tasks: readonly NewTask[], effect: Effect): Promise<readonly string[]> {
    if (tasks.length === 0) return [];
    // Redis stores them in one transaction, which takes it a fraction of a millisecond for each task.
    const longer = tasks.length;
    const ids = await this.#calls.ask((sending) => this.#enqueuer.enqueue(tasks, sending), { ...effect, longer });
    this.#added(tasks, ids);
    return ids;
  }

  /** Enqueues the task of a schedule, and says in which BullMQ queue it is. */
  async #enqueueRun(task: NewTask): Promise<{ id: string; queue: string }> {
    const [id = task.id] = await this.#enqueuer.enqueue([task]);
    this.#added([task], [id]);
    return { id, queue: (await this.#catalog.route(task)).queue };
  }

  #added(tasks: readonly NewTask[], ids: readonly string[]): void {
    this.#executor?.serve(this.#catalog.all());
    if (this.#observer?.wants('pending'))
      for (const [n, task] of tasks.entries()) if (ids[n] === task.id) this.#observer.tell(pendingSummary(task));
  }

  schedule(schedule: Schedule): void {
    this.#scheduler.add(schedule);
    if (this.#self) this.#self = { ...this.#self, schedules: this.#scheduler.names() };
  }

  find(query: TaskQuery): Promise<TaskPage> {
    return this.#calls.ask(() => this.#reading.find(query));
  }

  get(id: string, { logLines = 10_000 }: { logLines?: number | undefined } = {}): Promise<TaskDetail | undefined> {
    return this.#calls.ask(async () => {
      const found = await findJob(this.#reader, id);
      const task = found && (await readTask(this.#queues, found, found.jobId, logLines));
      return task && { ...task, id };
    });
  }

  logs(id: string, query: LogQuery): Promise<readonly LogLine[]> {
    return this.#calls.ask(async () => {
      const found = await findJob(this.#reader, id);
      return found ? readLines(logOf(this.#queues.get(found.queue), found.jobId), query) : [];
    });
  }

  aggregate<K extends keyof Aggregates>(kind: K, ...query: Aggregates[K]['query']): Promise<Aggregates[K]['answer']> {
    const kinds: { [Kind in keyof Aggregates]: (...query: Aggregates[Kind]['query']) => Promise<Aggregates[Kind]['answer']> } = {
      pulse: async () => readPulse(this.#reader, await this.#commands.queueStates()),
      waits: () => readWaits(this.#reader),
      workers: () => this.#instances.list(),
      metrics: async (range) => this.#statistics.metrics(range, await readLive(this.#reader, this.#reading), Date.now()),
      failures: (failures) => this.#statistics.failures.read(failures, (fingerprints) => countFailed(this.#reading, fingerprints)),
      histograms: (bounds) => this.#statistics.histograms(bounds),
    };
    return this.#calls.ask(async () => {
      await this.#statistics.flush();
      return kinds[kind](...query);
    });
  }

  describe(): Promise<EngineDescription> {
    return this.#calls.ask(async () => {
      const [revs, queues, schedules] = await Promise.all([this.#reading.revs(), this.#commands.queueStates(), this.#scheduler.states()]);
      return { engine: 'bullmq', ...revs, queues, schedules };
    });
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    await this.#calls.ask(() => this.#reading.revs());
    yield* this.#reading.watch(after, signal);
  }

  control(command: Command, by: CommandBy): Promise<Outcome> {
    if ('schedule' in command)
      return this.#calls.ask((sending) => {
        sending();
        return this.#controlSchedule(command, by);
      }, commanding);
    return this.#commands.control(command, by);
  }

  async #controlSchedule({ action, schedule }: Extract<Command, { schedule: string }>, by: CommandBy): Promise<Outcome> {
    if (action === 'pause') return { results: [], known: await this.#scheduler.pause(schedule, by) };
    if (action === 'resume') return { results: [], known: await this.#scheduler.resume(schedule) };
    if (action === 'remove') return { results: [], known: await this.#scheduler.remove(schedule) };
    const made = await this.#scheduler.run(schedule);
    if (!made) return { results: [], known: false };
    return { results: [{ id: made.id, ok: true, task: pendingSummary(made) }], known: true };
  }
}

/** Lets an error pass that says that Redis cannot be reached. The log has it. */
function unlessUnreachable(error: unknown): void {
  const isUnanswered = error instanceof TaskflowError && error.code === 'ENGINE_UNAVAILABLE' && !isAnswer(error.cause);
  if (!isUnanswered && !isConnectionError(error)) throw error;
}
