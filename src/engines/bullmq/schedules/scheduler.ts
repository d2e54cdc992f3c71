import { type Job, type Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import { TaskflowError } from '../../../errors.js';
import type { Logger } from '../../../options.js';
import type { CommandBy } from '../../../tasks/commands.js';
import type { NewTask, Schedule } from '../../../tasks/new-task.js';
import type { ScheduleState } from '../../../tasks/queue-state.js';
import { isEnded } from '../../../tasks/states.js';
import { newTaskId, timeOfTaskId } from '../../../tasks/task-id.js';
import type { TaskStatus } from '../../../tasks/types.js';
import { untilClosed } from '../connection/closing.js';
import { RedisWork } from '../connection/connections.js';
import type { RedisClock } from '../connection/redis-clock.js';
import { ChangeNotes } from '../jobs/change-notes.js';
import { type EngineKeys, tickQueue } from '../keys.js';
import { openQueue } from '../queues/queues.js';
import { TaskBackend } from '../run/task-backend.js';
import { pauseBy } from '../stored-pause.js';
import { idOfRun, intervalOf, repeatOptions, repeatStrategy, schedulerId } from './rules.js';
import {
  type ScheduleRecord,
  ScheduleRecords,
  type ScheduleRuns,
  type StoredSchedule,
  stateOf,
  undefinedSince,
} from './schedule-records.js';

/** Milliseconds after its time from which a run counts as missed. */
const missedAfter = 60_000;
/** Milliseconds before a schedule that could not be stored is tried again. */
const retryDelay = 1000;
/**
 * Ticks leave nothing behind, and one that cannot store its task is tried again for some minutes.
 */
const tickOptions = {
  removeOnComplete: true,
  removeOnFail: true,
  attempts: 300,
  backoff: { type: 'fixed', delay: 1000 },
} as const;

type TickWorker = Worker<unknown, void, string, TaskBackend>;

interface SchedulerDeps {
  /** For callers. */
  redis: Redis;
  /** For the worker of the ticks: its commands wait while Redis is unreachable. */
  patient: Redis;
  keys: EngineKeys;
  clock: RedisClock;
  /** The name of this process in lists of workers. */
  name: string;
  logger: Logger;
  /** Stores a task. Resolves to the BullMQ queue that it is in. */
  enqueue(task: NewTask): Promise<string>;
  /** Resolves to the state of a task, or to undefined if the task no longer exists. */
  status(queue: string, id: string): Promise<TaskStatus | undefined>;
}

/**
 * Fires schedules with BullMQ's job schedulers. The job of a scheduler is a tick in an internal
 * queue. The process that takes the tick enqueues the task. The id of the task is computed from the
 * schedule and the time, so a repeated tick creates no second task.
 */
export class Scheduler {
  readonly #deps: SchedulerDeps;
  readonly #records: ScheduleRecords;
  readonly #schedules = new Map<string, Schedule>();
  readonly #storing: Background;
  readonly #ticking: Background;
  #queue: Queue | undefined;
  #worker: TickWorker | undefined;
  #started = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
    this.#records = new ScheduleRecords(deps.redis, deps.keys, deps.clock);
    this.#storing = new RedisWork(deps.logger, 'storing schedules');
    this.#ticking = new RedisWork(deps.logger, 'waiting for the times of schedules');
  }

  /** Names of the schedules that this process defines. */
  names(): string[] {
    return [...this.#schedules.keys()];
  }

  add(schedule: Schedule): void {
    this.#schedules.set(schedule.name, schedule);
    if (this.#started) runInEmptyContext(() => this.#store([schedule]));
  }

  start(): void {
    this.#started = true;
    this.#store([...this.#schedules.values()]);
  }

  /**
   * Notes that this process defines its schedules, and stores them again if Redis has lost them.
   */
  async seen(): Promise<void> {
    if (this.#started && !(await this.#records.seen(this.names())))
      this.#store([...this.#schedules.values()]);
  }

  #store(schedules: readonly Schedule[]): void {
    if (schedules.length === 0 || !this.#started) return;
    this.#worker ??= this.#wait();
    Promise.all(schedules.map((schedule) => this.#define(schedule)))
      .then(() => this.#storing.worked())
      .catch((err: unknown) => {
        this.#storing.failed(err);
        this.#timer = setTimeout(() => this.#store(schedules), retryDelay).unref();
      });
  }

  async #define(schedule: Schedule): Promise<void> {
    const { name, rule } = schedule;
    const before = await this.#records.define(schedule);
    const stored = await this.#records.get(name);
    if (stored?.runs.pause) return;
    const next = stored?.runs.next;
    const isSame = before === rule;
    if (stored && next !== undefined)
      return this.#takeOver(stored, schedule, isSame ? next : undefined);
    // A scheduler whose rule is the same keeps its next time, which may have passed while no
    // process ran.
    if (isSame && (await this.#ticks().getJobScheduler(schedulerId(name)))?.next) return;
    await this.#plan(schedule);
  }

  /**
   * Plans a schedule that was moved here from a file, at the time that was planned there. If that
   * time has passed, the run is decided now.
   */
  async #takeOver(
    stored: StoredSchedule,
    schedule: Schedule,
    next: number | undefined,
  ): Promise<void> {
    if (next !== undefined && next <= Date.now()) await this.#fire(stored, next);
    await this.#plan(schedule, next);
    // This is the last step. If this process dies before it, another process repeats all steps,
    // with the same id for the run.
    await this.#records.planned(schedule.name);
  }

  async #plan(
    { name, rule, interval }: Pick<Schedule, 'name' | 'rule' | 'interval'>,
    first: number = Date.now() + (interval ?? 0),
  ): Promise<void> {
    await this.#ticks().upsertJobScheduler(schedulerId(name), repeatOptions(rule, first), {
      name,
      data: {},
      opts: tickOptions,
    });
  }

  #ticks(): Queue {
    const { redis, keys } = this.#deps;
    this.#queue ??= openQueue(tickQueue, redis, keys, { settings: { repeatStrategy } });
    return this.#queue;
  }

  #wait(): TickWorker {
    const { patient: redis, keys, name } = this.#deps;
    // A tick of a process that died is taken by another one.
    const lockDuration = 10_000;
    const options = {
      connection: redis,
      prefix: keys.prefix,
      settings: { repeatStrategy },
      concurrency: 10,
      runRetryDelay: retryDelay,
      lockDuration,
      stalledInterval: 5000,
    };
    // It repeats the steps that Redis refuses, so that no tick waits for its lock to expire.
    const backend = TaskBackend.factory({
      redis,
      keys,
      name,
      lockDuration,
      changes: new ChangeNotes(redis, keys),
      kept: { count: 0 },
    });
    const worker = new Worker(tickQueue, (job) => this.#tick(job), options, backend);
    worker.on('error', (err) => this.#ticking.failed(err));
    worker.on('ready', () => this.#ticking.worked());
    return worker;
  }

  async #tick(job: Job): Promise<void> {
    const stored = await this.#records.get(job.name);
    if (stored) await this.#fire(stored, job.opts.prevMillis ?? job.timestamp);
  }

  /** Makes the task of a run that was due at a time, or counts the run as skipped. */
  async #fire({ record, runs }: StoredSchedule, due: number): Promise<void> {
    const { name, catchUp, overlap } = record;
    const id = idOfRun(name, due);
    if (runs.pause || runs.last?.id === id) return;
    if (!this.#schedules.has(name) && !(await this.#isDefined(runs))) return;
    const isMissed = Date.now() - due > missedAfter && !catchUp;
    if (isMissed || !(overlap || (await this.#isAlone(name, id, runs.last))))
      return this.#records.skipped(name);
    await this.#make(record, id);
  }

  /** Resolves to whether a running process defines a schedule, or did so less than a minute ago. */
  async #isDefined(runs: ScheduleRuns): Promise<boolean> {
    return undefinedSince(runs, await this.#deps.clock.now()) === null;
  }

  /**
   * Resolves to whether no other run of a schedule is active. If one tick takes long, the next is
   * handled at the same time.
   */
  async #isAlone(name: string, id: string, last: ScheduleRuns['last']): Promise<boolean> {
    const status = last && (await this.#deps.status(last.queue, last.id));
    const hasEnded = status === undefined || isEnded(status);
    return hasEnded && this.#records.claim(name, id, last);
  }

  /** Enqueues the task of a run. It calls `changed` when the task is stored. */
  async #make(record: ScheduleRecord, id: string, changed = (): void => {}): Promise<NewTask> {
    const now = Date.now();
    const { deadlineAt, runAt } = record.template;
    const task: NewTask = {
      ...record.template,
      id,
      schedule: record.name,
      createdAt: timeOfTaskId(id),
      runAt: now,
      deadlineAt: deadlineAt === undefined ? undefined : now + deadlineAt - runAt,
    };
    const queue = await this.#deps.enqueue(task);
    changed();
    await this.#records.fired(record.name, { at: now, id, queue });
    return task;
  }

  /** Returns all schedules with their times, as users see them. */
  async states(): Promise<ScheduleState[]> {
    const [all, now] = await Promise.all([this.#records.all(), this.#deps.clock.now()]);
    const lost = this.#lost(new Set(all.map(({ record }) => record.name)));
    const planned = all.length === 0 ? [] : await this.#ticks().getJobSchedulers(0, -1, true);
    const next = new Map(planned.map((scheduler) => [scheduler.key, scheduler.next]));
    const stored = all.map(({ record, runs }) =>
      stateOf(record, runs, next.get(schedulerId(record.name)) ?? runs.next, now),
    );
    return [...stored, ...lost].sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /**
   * Returns the schedules that this process defines and Redis has lost. They are stored again
   * within seconds.
   */
  #lost(stored: ReadonlySet<string>): ScheduleState[] {
    if (!this.#started) return [];
    const now = Date.now();
    return [...this.#schedules.values()]
      .filter(({ name }) => !stored.has(name))
      .map((schedule) => {
        const { interval } = schedule;
        const next = interval === undefined ? schedule.next(now) : now + interval;
        return stateOf(schedule, { skipped: 0, seen: now }, next, now);
      });
  }

  /** Pauses a schedule. Resolves to whether it is known. */
  async pause(name: string, changed: () => void, by: CommandBy): Promise<boolean> {
    if (!(await this.#records.get(name))) return false;
    await this.#records.pause(name, pauseBy(by));
    changed();
    await this.#ticks().removeJobScheduler(schedulerId(name));
    return true;
  }

  /** Resumes a schedule. Runs that were due while it was paused are not caught up. */
  async resume(name: string, changed: () => void): Promise<boolean> {
    const stored = await this.#records.get(name);
    if (!stored?.runs.pause) return stored !== undefined;
    await this.#records.resume(name);
    changed();
    const { rule } = stored.record;
    await this.#plan({ name, rule, interval: intervalOf(rule) });
    return true;
  }

  /**
   * Enqueues the task of a schedule now. Resolves to the task, or to undefined if the schedule is
   * unknown.
   */
  async run(name: string, changed: () => void): Promise<NewTask | undefined> {
    const stored = await this.#records.get(name);
    return stored && this.#make(stored.record, newTaskId(), changed);
  }

  /**
   * Removes a schedule that no running process defines. Resolves to whether it was known.
   *
   * @throws TaskflowError SCHEDULE_DEFINED if a process defines it, or did so less than a minute
   * ago.
   */
  async remove(name: string, changed: () => void): Promise<boolean> {
    const stored = await this.#records.get(name);
    if (!stored) return false;
    if (await this.#isDefined(stored.runs))
      throw new TaskflowError(
        'SCHEDULE_DEFINED',
        'A running process defines this schedule, or did so less than a minute ago.',
      );
    await this.#ticks().removeJobScheduler(schedulerId(name));
    changed();
    await this.#records.remove(name);
    return true;
  }

  /** Takes no more ticks. */
  async stop(): Promise<void> {
    this.#started = false;
    clearTimeout(this.#timer);
    const closed = Promise.allSettled([this.#worker?.close()]);
    await untilClosed({ closed, redis: this.#deps.patient });
  }

  async close(): Promise<void> {
    await this.#queue?.close();
  }
}
