import { type Job, UnrecoverableError, WaitingError } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import type { StoredError, TaskRunner, TransitionObserver } from '../../../tasks/engine.js';
import { isEnded } from '../../../tasks/states.js';
import type { TaskStatus } from '../../../tasks/types.js';
import { deadlineError } from '../../deadline-error.js';
import { type Stuck, StuckAttempts } from '../../stuck-attempts.js';
import { closeTimeout, untilClosed } from '../connection/closing.js';
import { RedisWork } from '../connection/connections.js';
import type { ChangeNotes } from '../jobs/change-notes.js';
import { keyOf, taskIdOf } from '../jobs/job-ids.js';
import { jobProgress, summaryAfter } from '../jobs/job-view.js';
import { count, deadlineOf, jobFields, type TaskJob } from '../jobs/task-job.js';
import type { EngineKeys } from '../keys.js';
import type { LimitWarnings } from '../queues/limit-warnings.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import type { KeptJobs } from '../queues/retention.js';
import type { EndedTask } from '../statistics/statistics.js';
import { Attempt } from './attempt.js';
import { abandoned, type EndNotes, whyLost } from './end-notes.js';
import { cancelledBeforeNotes, cancelNotes, deadlineNotes, failureNotes, interruptNotes, nextAttempt, successNotes } from './ends.js';
import { HandlerOutput } from './handler-output.js';
import { ReturnedJobs } from './returned-jobs.js';
import { TaskBackend } from './task-backend.js';
import { claimedOf, endedOf, named } from './task-facts.js';
import { TaskWorker } from './task-worker.js';
import { returnUnanswered } from './unanswered-fetches.js';

/** Milliseconds for which a stop waits for handlers after it has aborted their signals. */
const obeyTimeout = 250;

/** What an {@link Executor} uses. */
export interface ExecutorParts {
  runner: TaskRunner;
  logger: Logger;
  keys: EngineKeys;
  /** A connection whose commands wait while Redis is unreachable, so that no end of an attempt is lost. */
  redis: Redis;
  changes: ChangeNotes;
  /** The name of this process in lists of workers. */
  name: string;
  /** Milliseconds after which a job counts as crashed if its worker has not renewed its lock. */
  lockDuration: number;
  kept: KeptJobs;
  observer(): TransitionObserver | undefined;
  limitWarnings: LimitWarnings;
  /** Counts a task that has ended. */
  ended(task: EndedTask): void;
  /** Called when the number of slots changes that are held by handlers which did not stop. */
  stuckChanged(stuck: Stuck): void;
}

/**
 * Runs the jobs of this process. An attempt passes through these parts:
 *
 * 1. `TaskWorker`, BullMQ's own worker, fetches a job. There is one for each queue.
 * 2. This class decides whether the job may run here, and calls its handler through the runner. The
 *    `Attempt` is what the handler and commands see of it. `ReturnedJobs` puts back a job that
 *    cannot run here now.
 * 3. The functions in `ends.ts` say what is written when the attempt ends.
 * 4. `TaskBackend` writes that together with BullMQ's own step, and repeats the step until Redis
 *    answers.
 */
export class Executor {
  readonly #parts: ExecutorParts;
  readonly #workers = new Map<string, { worker: TaskWorker; entry: CatalogEntry }>();
  readonly #running = new Set<Attempt>();
  /** The newest attempt of each job, by the job's name over all queues. */
  readonly #byJob = new Map<string, Attempt>();
  /** Attempts that are over although their handlers still run. */
  readonly #holding = new Set<Attempt>();
  readonly #stuck: StuckAttempts;
  readonly #output: HandlerOutput;
  readonly #fetching: Background;
  readonly #returned: ReturnedJobs;
  #stopping = false;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    const { logger, changes, stuckChanged } = parts;
    this.#fetching = new RedisWork(logger, 'fetching tasks from Redis');
    this.#returned = new ReturnedJobs(logger);
    this.#output = new HandlerOutput({ logger, changes, backend: (queue) => this.#workers.get(queue)?.worker.getBackend() });
    this.#stuck = new StuckAttempts({ slots: () => this.slots, logger, changed: stuckChanged });
    parts.redis.on('ready', this.#reconnected);
  }

  /** The connection was made again, so answers may have been lost. */
  readonly #reconnected = (): void => {
    const { redis, name } = this.#parts;
    for (const { worker } of this.#workers.values()) this.#fetching.run(() => returnUnanswered(worker.getBackend(), redis, name));
  };

  /** How many attempts run, without those that are over although their handlers still run. */
  get running(): number {
    return this.#running.size - this.#holding.size;
  }

  /** How many attempts run at once at most, over all queues. */
  get slots(): number {
    const { concurrency } = this.#parts.runner;
    return [...this.#workers.values()].reduce((sum, { entry }) => sum + Math.min(concurrency, entry.concurrency ?? concurrency), 0);
  }

  /** Whether a job runs here. */
  runs(queue: string, jobId: string): boolean {
    return this.#find(queue, jobId) !== undefined;
  }

  #find(queue: string, jobId: string): Attempt | undefined {
    return this.#byJob.get(keyOf(queue, jobId));
  }

  /** Starts a worker for each queue that has none yet. Returns whether it started any. */
  serve(entries: readonly CatalogEntry[]): boolean {
    if (this.#stopping) return false;
    const { runner, limitWarnings } = this.#parts;
    const before = this.#workers.size;
    for (const entry of entries) {
      limitWarnings.compare(entry, runner.names().get(entry.task ?? ''));
      if (!this.#workers.has(entry.queue)) runInEmptyContext(() => this.#serve(entry));
    }
    return this.#workers.size > before;
  }

  #serve(entry: CatalogEntry): void {
    const { redis, keys, changes, name, lockDuration, kept, runner } = this.#parts;
    const worker: TaskWorker = new TaskWorker(
      entry.queue,
      (job, token) => this.#process(worker, entry, job, token ?? ''),
      {
        connection: redis,
        prefix: keys.prefix,
        name,
        concurrency: runner.concurrency,
        lockDuration,
        // `Settler` ends crashed jobs, because it knows which may run again.
        skipStalledCheck: true,
        runRetryDelay: 1000,
        removeOnComplete: kept,
        removeOnFail: kept,
      },
      TaskBackend.factory({
        ...{ redis, name, keys, changes, lockDuration, kept },
        cancelRequested: (jobId) => this.cancel((queue, id) => queue === entry.queue && id === jobId),
        lockLost: (jobId, isGone) =>
          this.#find(entry.queue, jobId)?.abort(new DOMException(`the attempt is over, because ${whyLost(isGone)}`, 'AbortError')),
      }),
    );
    worker.on('error', (err) => this.#fetching.failed(err));
    for (const event of ['ready', 'active', 'drained'] as const) worker.on(event, () => this.#fetching.worked());
    this.#workers.set(entry.queue, { worker, entry });
  }

  #process(worker: TaskWorker, entry: CatalogEntry, job: Job, token: string): Promise<unknown> {
    const task = worker.take(job);
    const backend = worker.getBackend();
    const { runner, limitWarnings } = this.#parts;
    if (!runner.names().has(job.name)) return this.#returned.withoutHandler(backend, { job, task, token });
    const limit = entry.task === undefined ? runner.names().get(job.name) : undefined;
    if (limit !== undefined) limitWarnings.missing(job.name, entry, limit);
    // This process has just handed the task back, or Redis has lost the start of an attempt that still runs here.
    if (this.#stopping || this.#find(entry.queue, job.id ?? '')?.over === false)
      return this.#returned.putBack(backend, { job, task, token });
    if (task.fields[jobFields.cancelling]) return this.#fail(backend, entry, job, task, cancelledBeforeNotes(task), undefined, 'cancelled');
    // Another program's stalled check has put the job back, although its handler may have been called.
    if (job.stalledCounter > count(task.fields[jobFields.stalls]))
      return this.#interrupt(backend, entry, job, task, { job: task, attempt: nextAttempt(task), now: Date.now() });
    const deadline = deadlineOf(task);
    if (deadline !== undefined && deadline <= Date.now()) {
      const error = deadlineError(job.name);
      return this.#fail(backend, entry, job, task, deadlineNotes(task, error), error);
    }
    return this.#run(worker, entry, job, task);
  }

  async #run(worker: TaskWorker, entry: CatalogEntry, job: Job, task: TaskJob): Promise<unknown> {
    const { runner, changes, logger } = this.#parts;
    const backend = worker.getBackend();
    const claimed = claimedOf(task, entry);
    const attempt = new Attempt({ task: claimed, queue: entry.queue, logger, wrote: (each) => this.#output.soon(each) });
    this.#running.add(attempt);
    this.#byJob.set(keyOf(entry.queue, claimed.id), attempt);
    changes.soon({ queue: entry.queue, jobId: claimed.id, state: 'active' });
    this.#tell(task, entry, 'running', {});
    const running = runner.run(named(claimed, entry), attempt);
    const { result, ended } = running;
    if (ended !== result) void ended.then(() => this.#release(attempt, worker));
    const how = await attempt.outcome(result);
    if (ended === result) {
      if (typeof how === 'object') this.#release(attempt, worker);
      else void ended.then(() => this.#release(attempt, worker));
    }
    attempt.end();
    // Otherwise listeners would get the progress that the task had when it was fetched.
    if (attempt.lastProgress) task.json.progress = jobProgress(attempt.lastProgress);
    this.#output.write(attempt);
    // The handler still runs. BullMQ frees the job's slot once this function returns, so the slot is held before that.
    if (this.#running.has(attempt) && how !== 'handed back') this.#hold(attempt, worker);
    const ending = { job: task, attempt: claimed.attempt, now: Date.now(), lines: claimed.logLines + attempt.lineCount, running };
    if (how === 'cancelled' || attempt.cancelled) return this.#fail(backend, entry, job, task, cancelNotes(ending), undefined, 'cancelled');
    if (how === 'handed back' || (this.#stopping && how.status === 'failed')) return this.#interrupt(backend, entry, job, task, ending);
    if (how.status === 'success') {
      backend.willEnd(claimed.id, this.#told(successNotes(ending, how), task, entry, 'success'));
      return undefined;
    }
    const notes = failureNotes(ending, how.error, how.retryIn);
    return this.#fail(backend, entry, job, task, notes, how.error, how.retryIn === undefined ? 'failed' : 'pending', how.retryIn);
  }

  /** Ends an attempt because this process stops. */
  async #interrupt(
    backend: TaskBackend,
    entry: CatalogEntry,
    job: Job,
    task: TaskJob,
    ending: Parameters<typeof interruptNotes>[0],
  ): Promise<never> {
    const { again, error, ...notes } = interruptNotes(ending);
    if (!again) return this.#fail(backend, entry, job, task, notes, error, 'interrupted');
    backend.willEnd(job.id ?? '', this.#told(notes, task, entry, 'pending'));
    await backend.moveJobFromActiveToWait(job.id ?? '', job.token);
    throw new WaitingError();
  }

  /** Ends a job as failed, or lets it wait for its next attempt. It throws the error that makes BullMQ do so. */
  #fail(
    backend: TaskBackend,
    entry: CatalogEntry,
    job: Job,
    task: TaskJob,
    notes: EndNotes,
    error: StoredError | undefined,
    status: TaskStatus = 'failed',
    retryIn?: number,
  ): never {
    backend.willEnd(job.id ?? '', this.#told(notes, task, entry, status, error));
    // The task's definition in this process decides, not the options with which the job was added.
    job.opts.attempts = job.attemptsMade + (retryIn === undefined ? 1 : 2);
    if (retryIn !== undefined) job.opts.backoff = { type: 'fixed', delay: Math.round(retryIn * 1000) };
    const message = error?.message ?? `the task was ${status}`;
    const thrown = retryIn === undefined ? new UnrecoverableError(message) : new Error(message);
    thrown.stack = error?.stack ?? '';
    throw thrown;
  }

  /** Adds to notes what is done once the end is stored: listeners are called, and the end is counted. */
  #told(notes: EndNotes, task: TaskJob, entry: CatalogEntry, status: TaskStatus, error?: StoredError): EndNotes {
    notes.stored = (at: number): void => {
      notes.log?.();
      this.#tell(task, entry, status, notes.fields, error?.message, at);
      if (isEnded(status)) this.#parts.ended(endedOf({ task, entry, status, at, error, started: !('processedOn' in notes.fields) }));
    };
    const { ifCancelled } = notes;
    if (ifCancelled) notes.ifCancelled = () => this.#told(ifCancelled(), task, entry, 'cancelled');
    const warn = (message: string): void =>
      this.#parts.logger.warn({ taskId: taskIdOf(entry.queue, task.json.id), task: task.json.name, attempt: nextAttempt(task) }, message);
    notes.dropped = (isGone) => warn(`the result of a task was dropped, because ${whyLost(isGone)}`);
    notes.abandoned = () => warn(abandoned);
    return notes;
  }

  #tell(
    task: TaskJob,
    entry: CatalogEntry,
    status: TaskStatus,
    fields: Readonly<Record<string, string | number>>,
    reason?: string,
    now?: number,
  ): void {
    const observer = this.#parts.observer();
    if (!observer?.wants(status)) return;
    const json = { ...task.json, ...(reason !== undefined && { failedReason: reason }), ...(now !== undefined && { finishedOn: now }) };
    observer.tell(summaryAfter({ ...task, json }, fields, entry, status));
  }

  /** Cancels attempts by queue and id. */
  cancel(isCancelled: (queue: string, id: string) => boolean): void {
    for (const attempt of this.#running)
      if (isCancelled(attempt.queue, attempt.id)) attempt.cancel(this.#parts.runner.cancelGrace(attempt.name));
  }

  #hold(attempt: Attempt, worker: TaskWorker): void {
    this.#holding.add(attempt);
    worker.holdSlot();
    // A handler that obeys its signal may end in this turn of the event loop.
    setImmediate(() => {
      if (this.#running.has(attempt) && !this.#stopping) this.#stuck.add(attempt);
    });
  }

  #release(attempt: Attempt, worker: TaskWorker): void {
    this.#running.delete(attempt);
    const member = keyOf(attempt.queue, attempt.id);
    if (this.#byJob.get(member) === attempt) this.#byJob.delete(member);
    if (this.#holding.delete(attempt)) worker.freeSlot();
    this.#stuck.remove(attempt);
  }

  /** Takes no more jobs, and waits for those that run. Jobs that still run after `timeout` seconds are handed back. */
  async stop(timeout: number): Promise<void> {
    this.#parts.redis.off('ready', this.#reconnected);
    const workers = [...this.#workers.values()].map(({ worker }) => worker);
    const closed = Promise.allSettled(workers.map((worker) => worker.close()));
    const isDrained = await this.#drained(timeout * 1000, closed);
    this.#stopping = true;
    if (!isDrained && this.#running.size > 0) {
      this.#parts.logger.warn({ running: this.#running.size }, 'stopped while tasks were running');
      for (const attempt of this.#running) attempt.stop();
      await this.#drained(obeyTimeout, closed);
      for (const attempt of this.#running) attempt.handBack();
    }
    // The caller's time is over, so this waits longer only if Redis answers.
    await untilClosed({ closed, redis: this.#parts.redis, timeout: closeTimeout, isIdle: () => true });
    for (const { worker } of this.#workers.values()) for (const end of worker.getBackend().unconfirmed) end.abandoned?.();
    this.#output.flush();
    this.#stuck.close();
  }

  /** Whether all jobs have ended within so many milliseconds. */
  #drained(timeout: number, closed: Promise<unknown>): Promise<boolean> {
    return untilClosed({ closed, redis: this.#parts.redis, timeout, isIdle: () => this.#isIdle() });
  }

  #isIdle(): boolean {
    return this.#running.size === 0 && [...this.#workers.values()].every(({ worker }) => worker.getBackend().isIdle);
  }
}
