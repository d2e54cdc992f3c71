import { randomUUID } from 'node:crypto';
import { Background } from '../../background.js';
import { runInEmptyContext } from '../../empty-context.js';
import { isReported, TaskflowError } from '../../errors.js';
import type { Logger } from '../../options.js';
import type { SharedStore } from '../../store/shared-store.js';
import type {
  Action,
  Aggregates,
  AppDescription,
  AttemptResult,
  Command,
  CommandBy,
  NewTask,
  Outcome,
  Schedule,
  StoredEnd,
  TaskEngine,
  TaskRunner,
  TransitionObserver,
} from '../../tasks/engine.js';
import type { EnginePromises } from '../../tasks/promises.js';
import { newTaskId } from '../../tasks/task-id.js';
import { type TaskSummary, taskStatuses } from '../../tasks/types.js';
import { Bell } from '../bell.js';
import { commandTasks } from '../bulk.js';
import type { Stuck } from '../stuck-attempts.js';
import { aggregate } from '../tables/read/aggregates.js';
import { otherApp } from '../tables/read/other-apps.js';
import { Reader } from '../tables/read/reader.js';
import { forReading, type Row } from '../tables/schema/database.js';
import { idOf, stateOf, toSummary } from '../tables/schema/rows.js';
import type { WriteOf } from '../tables/write/batch.js';
import { type BatchResult, type Claim, storedEnd } from '../tables/write/batch.js';
import { packTasks } from '../tables/write/packed-tasks.js';
import { describeWorker, type WorkerRow } from '../this-process.js';
import { embeddedParts, rerunOf } from './bulk-parts.js';
import { GroupCommit } from './group-commit.js';
import { type Retention, Upkeep } from './maintenance.js';
import { ClaimTimer } from './run/claim-timer.js';
import { ScheduleTimers } from './run/schedule-timers.js';
import { type AttemptKey, type LeftToWrite, Slots } from './run/slots.js';
import { embeddedStore } from './store.js';
import type { OpenTables, TableHome } from './table-home.js';

/** Options of a {@link TableEngine}. */
export interface TableEngineOptions {
  home: TableHome;
  logger: Logger;
  retention: Retention;
}

/** Milliseconds that log lines are gathered before they are written. */
const logDelay = 50;
/** Milliseconds between two looks for dead processes. */
const recoveryInterval = 1000;
/** Milliseconds before a result that could not be recorded is tried again. */
const recordDelay = 1000;

interface Opened extends OpenTables {
  reader: Reader;
  commits: GroupCommit;
}

/** Runs the tasks of tables that are written in batches, wherever those are kept: any number of processes may have them open. */
export class TableEngine implements TaskEngine {
  readonly can: ReadonlySet<Action> = new Set(['retry', 'rerun', 'cancel', 'delete', 'run', 'pause', 'resume', 'remove']);
  readonly promises: EnginePromises;
  readonly store: SharedStore;
  readonly enqueueIn?: NonNullable<TaskEngine['enqueueIn']>;
  readonly backup?: NonNullable<TaskEngine['backup']>;
  readonly #home: TableHome;
  readonly #logger: Logger;
  readonly #owner = randomUUID();
  readonly #changed = new Bell();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #scheduler: ScheduleTimers;
  readonly #upkeep: Upkeep;
  readonly #claims: ClaimTimer;
  #observer: TransitionObserver | undefined;
  #opening: Promise<Opened> | undefined;
  #starting: Promise<void> | undefined;
  /** Set once the file is open; what runs on its own uses it until the very end of a stop. */
  #opened: Opened | undefined;
  #self: WorkerRow | undefined;
  /** Whether the last entry of this process could not be written to the list of processes. */
  #listFailed = false;
  #runner: TaskRunner | undefined;
  #slots: Slots | undefined;
  #claiming = false;
  #stopping: Promise<void> | undefined;
  /** Nothing is read or written any more, because the drain has ended. */
  #stopped = false;
  /** Rings when ends of attempts that could not be recorded are tried for the last time. */
  readonly #lastChance = new Bell();
  readonly #recording: Background;
  readonly #logging: Background;
  readonly #progress: Background;
  #logTimer: NodeJS.Timeout | undefined;

  constructor({ home, logger, retention }: TableEngineOptions) {
    this.#home = home;
    this.promises = home.promises;
    this.#logger = logger;
    this.#upkeep = new Upkeep({ logger, retention, dueEarlier: () => this.#poke() });
    this.#recording = new Background(logger, 'recording the ends of tasks');
    this.#logging = new Background(logger, 'writing log lines of tasks');
    this.#progress = new Background(logger, 'writing the progress of tasks');
    this.#claims = new ClaimTimer({ logger, look: () => this.#poke() });
    this.#scheduler = new ScheduleTimers({ logger, made: (row) => this.#tell([row]), poke: () => this.#poke() });
    this.store = embeddedStore(async () => ({ ...(await this.#openChecked()), changed: this.#changed }));
    const { enqueueIn, backup } = home;
    if (enqueueIn) this.enqueueIn = enqueueIn;
    if (backup) this.backup = async (path) => backup(await this.#open(), path);
  }

  observe(observer: TransitionObserver): void {
    this.#observer = observer;
  }

  start(runner: TaskRunner | undefined, app: AppDescription = { tasks: [] }): Promise<void> {
    this.#starting = runInEmptyContext(() => this.#start(runner, app));
    return this.#starting;
  }

  async #start(runner: TaskRunner | undefined, { tasks }: AppDescription): Promise<void> {
    const { port } = await this.#open();
    this.#runner = runner;
    await this.#home.owners?.take(this.#owner);
    await this.#recoverDead();
    this.#self = describeWorker(this.#owner, runner?.concurrency ?? 0, { tasks, schedules: this.#scheduler.names() });
    this.#introduce(this.#self);
    this.#warnOfOtherApp(this.#self);
    if (this.#home.owners) {
      this.#every(recoveryInterval, 'looking for dead processes', () => this.#recoverDead());
      this.#every(recoveryInterval, 'the heartbeat of this process', () => this.#home.owners?.sign(this.#owner));
    }
    this.#upkeep.start(await this.#open());
    if (!runner) return;
    port.hold(true);
    this.#slots = new Slots({
      runner,
      logger: this.#logger,
      finished: (key, result, rest) => this.#record(key, result, rest),
      abandoned: (key) => this.#abandon(key),
      logged: () => this.#writeLogsSoon(),
      freed: () => this.#poke(),
      stuckChanged: (stuck) => this.#updateSelf(stuck),
    });
    runner.onChange(() => this.#poke());
    if (this.#stopping) throw hasStopped();
    this.#claiming = true;
    this.#scheduler.start(await this.#open());
    this.#poke();
  }

  stop({ timeout }: { timeout: number }): Promise<void> {
    this.#stopping ??= this.#stop(timeout);
    return this.#stopping;
  }

  /** Handlers that run can enqueue, read and command until the drain has ended. Claims and schedules end at once. */
  async #stop(timeout: number): Promise<void> {
    // What is being opened or started makes timers of its own: they end once all of them are there.
    await this.#starting?.catch(() => undefined);
    await this.#opening?.catch(() => undefined);
    this.#claiming = false;
    this.#scheduler.stop();
    this.#upkeep.stop();
    this.#claims.stop();
    const opened = this.#opened;
    const drained = !opened || (await this.#drain(opened, timeout));
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#changed.close();
    if (opened) await this.#close(opened, drained);
  }

  async #close(opened: Opened, drained: boolean): Promise<void> {
    clearTimeout(this.#logTimer);
    this.#writeLogs(opened);
    this.#slots?.close();
    // What was handed back took this process off the list.
    if (this.#starting && drained) this.#introduce({ owner: this.#owner });
    await opened.commits.close();
    opened.port.hold(false);
    await opened.close();
    await this.#home.owners?.release(this.#owner);
  }

  /** Warns if another app uses the same file by accident: neither runs the other's tasks, but each shows and deletes them. */
  #warnOfOtherApp(self: WorkerRow): void {
    const other = this.#opened && otherApp(this.#opened.database, self);
    if (other) this.#logger.warn({ app: self.app, other }, 'another app uses the same task database; give each app a file of its own');
  }

  /** Puts this process on the list of those that have the file open, or takes it off. No task depends on that list. */
  #introduce(worker: { owner: string } | WorkerRow): void {
    this.#listFailed = false;
    this.#opened?.commits.submit<'introduce'>({ kind: 'introduce', worker }).catch((err) => {
      this.#listFailed = true;
      this.#report(err, 'the list of processes could not be written');
    });
  }

  /** Tells the other processes how many slots here are held by handlers that did not stop. */
  #updateSelf(stuck: Stuck): void {
    if (!this.#self) return;
    this.#self = { ...this.#self, ...stuck };
    this.#introduce(this.#self);
  }

  /** Waits for what runs. What does not end is handed back, as if this process had died. Returns whether all ended. */
  async #drain({ commits }: Opened, timeout: number): Promise<boolean> {
    const slots = this.#slots;
    if (!slots) return true;
    // What a batch under way has claimed belongs to what runs.
    await commits.settled();
    if (await slots.drain(timeout)) return true;
    this.#logger.warn({ running: slots.size }, 'stopped while tasks were running');
    slots.abortAll();
    // Handlers that obey their signal end now; one that still succeeds is recorded so.
    await slots.drain(0.25);
    await this.#handBackRunning(commits);
    return false;
  }

  /**
   * Hands back what runs. Ends that could not be recorded go into the same commit before it, so that a lock which is held on
   * the file for long makes no finished task an interrupted one.
   */
  async #handBackRunning(commits: GroupCommit): Promise<void> {
    await commits.settled();
    this.#lastChance.ring();
    await new Promise((resolve) => setImmediate(resolve));
    try {
      const rows = await commits.submit<'recover'>({ kind: 'recover', owner: this.#owner, at: Date.now() });
      this.#slots?.handedBack(new Map(rows.map(({ seq, status }) => [Number(seq), stateOf(status)])));
      this.#tell(rows);
    } catch (err) {
      this.#report(err, 'tasks that ran could not be handed back; another process does that once this one has ended');
    }
  }

  async enqueue(tasks: readonly NewTask[]): Promise<readonly string[]> {
    if (tasks.length === 0) return [];
    const { commits } = this.#opened ?? (await this.#open());
    if (this.#stopped) throw hasStopped();
    const standing = await commits.submit<'enqueue'>({ kind: 'enqueue', tasks: packTasks(tasks) });
    if (this.#observer?.wants('pending')) {
      for (const [index, task] of tasks.entries()) if (!standing || standing[index] === task.id) this.#observer.tell(pendingSummary(task));
    }
    return standing ?? tasks.map(({ id }) => id);
  }

  schedule(schedule: Schedule): void {
    this.#scheduler.add(schedule);
    if (!this.#self || this.#stopped) return;
    this.#self = { ...this.#self, schedules: this.#scheduler.names() };
    this.#introduce(this.#self);
  }

  async find(query: Parameters<TaskEngine['find']>[0]): ReturnType<TaskEngine['find']> {
    return this.#read(({ reader }) => reader.find(query));
  }

  async get(...[id, options]: Parameters<TaskEngine['get']>): ReturnType<TaskEngine['get']> {
    return this.#read(({ reader }) => reader.get(id, options?.logLines));
  }

  async logs(id: string, query: Parameters<TaskEngine['logs']>[1]): ReturnType<TaskEngine['logs']> {
    return this.#read(({ reader }) => reader.logs(id, query));
  }

  async aggregate<K extends keyof Aggregates>(kind: K, ...query: Aggregates[K]['query']): Promise<Aggregates[K]['answer']> {
    const now = Date.now();
    const lastSign = (owner: string): number => this.#home.owners?.lastSign(owner, now) ?? 0;
    return this.#read(({ database, reader }) => aggregate({ database, reader, now, lastSign }, kind, query));
  }

  async describe(): ReturnType<TaskEngine['describe']> {
    return this.#read(({ reader }) => ({ ...reader.describe(), engine: this.#home.engine }));
  }

  async *watch(after: number, signal: AbortSignal): ReturnType<TaskEngine['watch']> {
    const { reader } = await this.#open();
    yield* reader.watch(after, this.#changed, signal);
  }

  async control(command: Command, by: CommandBy): Promise<Outcome> {
    const { commits, reader } = await this.#openChecked();
    const at = Date.now();
    if ('queue' in command) {
      const paused = command.action === 'pause';
      await commits.submit<'pauseQueue'>({ kind: 'pauseQueue', queue: command.queue, paused, at, by: by.actor, reason: by.reason });
      this.#poke();
      return { results: [], known: true };
    }
    if ('schedule' in command) return this.#controlSchedule(command.schedule, command.action, by, at);
    const outcome =
      command.action === 'rerun'
        ? { results: await commits.submit<'rerun'>(rerunOf(command, newTaskId, at)) }
        : await commandTasks(embeddedParts(reader, commits, at), command, by);
    if (by.dryRun) return outcome;
    if (command.action === 'cancel') this.#slots?.cancel(reader.toCancel(this.#owner));
    if (command.action !== 'delete') this.#tellResults(outcome.results);
    this.#poke();
    return outcome;
  }

  async #controlSchedule(name: string, action: 'pause' | 'resume' | 'run' | 'remove', by: CommandBy, at: number): Promise<Outcome> {
    const { commits } = await this.#open();
    if (action === 'remove') {
      const outcome = await commits.submit<'removeSchedule'>({ kind: 'removeSchedule', name, at });
      if (outcome === 'defined')
        throw new TaskflowError('SCHEDULE_DEFINED', 'A running process defines this schedule, or did so less than a minute ago.');
      return { results: [], known: outcome === 'removed' };
    }
    if (action !== 'run') {
      const paused = action === 'pause';
      const known = await commits.submit<'pauseSchedule'>({ kind: 'pauseSchedule', name, paused, at, by: by.actor, reason: by.reason });
      this.#scheduler.refresh();
      return { results: [], known };
    }
    const row = await commits.submit<'runSchedule'>({ kind: 'runSchedule', name, newId: newTaskId(), at });
    if (!row) return { results: [], known: false };
    this.#tell([row]);
    this.#poke();
    const task = toSummary(row);
    return { results: [{ id: task.id, ok: true, task }], known: true };
  }

  async #read<T>(read: (opened: Opened) => T): Promise<T> {
    return read(await this.#openChecked());
  }

  /** Opens the tables. @throws TaskflowError ENGINE_UNAVAILABLE also if the file is not the one that was opened any more. */
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
    const tables = await this.#home.open(() => this.#lookForChanges());
    const database = forReading(tables.database);
    const reader = new Reader(database);
    const commits = new GroupCommit({
      port: tables.port,
      claim: (reserved) => this.#claim(reserved),
      wanted: () => taskStatuses.filter((status) => this.#observer?.wants(status)),
      onClaimed: (result) => this.#begin(result),
      onDue: (nextDue) => this.#claims.claimed(nextDue),
      onClaimFailed: (error) => this.#claims.failed(error),
      onCommitted: () => this.#changed.ring(),
      handBack: () => this.#handBack(),
    });
    this.#opened = { ...tables, database, reader, commits };
    return this.#opened;
  }

  /** Timers that never keep the process alive, and end with the engine. */
  #every(milliseconds: number, job: string, work: () => void | Promise<void>): void {
    const background = new Background(this.#logger, job);
    this.#timers.add(setInterval(() => background.run(work), milliseconds).unref());
  }

  #claim(reserved: number): Claim | undefined {
    const limit = (this.#slots?.free ?? 0) - reserved;
    if (!this.#claiming || !this.#runner || limit <= 0) return undefined;
    return { owner: this.#owner, names: [...this.#runner.names()], limit, at: Date.now() };
  }

  #begin({ claimed, begun, expired }: Pick<BatchResult, 'claimed' | 'begun' | 'expired'>): void {
    for (const row of claimed) {
      try {
        this.#slots?.run(row);
      } catch (err) {
        // The row is damaged. The other tasks of this claim must not wait for it.
        this.#logger.error({ err, taskId: idOf(row[1]), task: row[2] }, 'a task could not be started');
      }
    }
    this.#tell([...begun, ...expired]);
  }

  #handBack(): WriteOf<'handBack'> | undefined {
    return this.#slots && { kind: 'handBack', owner: this.#owner, held: this.#slots.held, at: Date.now() };
  }

  #poke(): void {
    if (!this.#stopped) this.#opened?.commits.poke();
  }

  /** Notices what other processes committed: tasks to run, tasks to cancel, changes to show. */
  #lookForChanges(): void {
    this.#changed.ring();
    this.#slots?.cancel(this.#opened?.reader.toCancel(this.#owner) ?? []);
    if (!this.#claiming) return;
    this.#scheduler.refresh();
    this.#poke();
  }

  async #recoverDead(): Promise<void> {
    const { owners } = this.#home;
    if (!owners || !this.#opened || this.#stopped) return;
    const known = this.#opened.reader.owners();
    // Other processes treated this one as dead, or its entry could not be written before. Without a complete entry, a schedule
    // that this process defines could be removed.
    if (this.#self && (this.#listFailed || !known.includes(this.#owner))) this.#introduce(this.#self);
    const failures: unknown[] = [];
    for (const owner of known) {
      if (owner === this.#owner) continue;
      // A process of which this cannot be told must not keep the tasks of the others.
      const isAlive = await owners.isAlive(owner).catch((error: unknown) => {
        failures.push(error);
        return true;
      });
      if (!isAlive) await this.#recover(owner);
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Takes over the tasks of a process that has ended. */
  async #recover(owner: string): Promise<void> {
    if (!this.#opened) return;
    const rows = await this.#opened.commits.submit<'recover'>({ kind: 'recover', owner, at: Date.now() });
    this.#home.owners?.forget(owner);
    if (rows.length > 0) this.#logger.warn({ tasks: rows.length }, 'took over from a process that died');
    this.#tell(rows);
    this.#poke();
  }

  /**
   * Records how an attempt ended. If that fails, for example because the disk is full, it is tried again until this engine has
   * stopped.
   */
  async #record(
    key: AttemptKey & { id: string },
    result: AttemptResult,
    { logs, progress }: LeftToWrite,
  ): Promise<StoredEnd | 'lost' | undefined> {
    const { id, seq, attempt } = key;
    const finish = {
      ...({ kind: 'finish', seq, owner: this.#owner, attempt, at: Date.now(), result } as const),
      ...(logs.length > 0 && { logs }),
      ...(progress && { progress }),
    };
    for (let again = false; this.#opened && !this.#stopped; again = true) {
      try {
        const end = await this.#opened.commits.submit<'finish'>(again ? { ...finish, again } : finish);
        this.#recording.worked();
        if (typeof end === 'object') this.#tell([end]);
        return storedEnd(end);
      } catch (err) {
        this.#recording.failed(err, { taskId: id, attempt });
        await this.#lastChance.wait(AbortSignal.timeout(recordDelay));
      }
    }
  }

  /** Records that an attempt was cancelled although its handler still runs. Resolves to whether that is stored. */
  async #abandon({ id, seq, attempt }: AttemptKey & { id: string }): Promise<boolean> {
    try {
      const end = await this.#opened?.commits.submit<'abandon'>({ kind: 'abandon', seq, owner: this.#owner, attempt, at: Date.now() });
      if (typeof end === 'object') this.#tell([end]);
      return end !== undefined && end !== 'lost';
    } catch (err) {
      this.#report(err, 'a cancelled task could not be recorded; it will be when it ends', { taskId: id, attempt });
      return false;
    }
  }

  #writeLogsSoon(): void {
    const write = (): void => {
      this.#logTimer = undefined;
      if (this.#opened) this.#writeLogs(this.#opened);
    };
    // The lines of all attempts are written together.
    this.#logTimer ??= runInEmptyContext(() => setTimeout(write, logDelay));
  }

  #writeLogs({ commits }: Opened): void {
    const logs = this.#slots?.takeLogs() ?? [];
    const entries = this.#slots?.takeProgress() ?? [];
    if (logs.length > 0) {
      const keep = (err: unknown): void => {
        this.#logging.failed(err, { lines: logs.length });
        // What is away comes back; a disk that is full takes no more lines for some time.
        if (isReported(err) && !this.#stopped) this.#slots?.keepLogs(logs);
      };
      commits.submit<'log'>({ kind: 'log', logs }).then(() => this.#logging.worked(), keep);
    }
    if (entries.length > 0)
      this.#progress.run(async () => {
        await commits.submit<'progress'>({ kind: 'progress', owner: this.#owner, entries });
      });
  }

  /** One line for what the log does not have already. */
  #report(err: unknown, message: string, about: object = {}): void {
    if (!isReported(err)) this.#logger.error({ err, ...about }, message);
  }

  #tell(rows: readonly Row[]): void {
    for (const row of rows) {
      try {
        if (this.#observer?.wants(stateOf(row.status))) this.#observer.tell(toSummary(row));
      } catch (err) {
        // The row is damaged. What it says of a task is stored, and must not be stored again.
        this.#logger.error({ err, seq: row.seq }, 'a transition of a task could not be reported');
      }
    }
  }

  #tellResults(results: Outcome['results']): void {
    // A running task that is to be cancelled has made no transition yet.
    for (const result of results)
      if (result.ok && result.task.status !== 'running' && this.#observer?.wants(result.task.status)) this.#observer.tell(result.task);
  }
}

function hasStopped(): TaskflowError {
  return new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped');
}

function pendingSummary(task: NewTask): TaskSummary {
  const { id, name, queue, priority, tags, source, createdAt, runAt, attempts } = task;
  return {
    id,
    name,
    status: 'pending',
    queue,
    priority,
    tags,
    source,
    createdAt: new Date(createdAt).toISOString(),
    runAt: new Date(runAt).toISOString(),
    startedAt: null,
    endedAt: null,
    duration: null,
    attempt: 0,
    maxAttempts: attempts,
    progress: null,
    error: null,
    fingerprint: null,
  };
}
