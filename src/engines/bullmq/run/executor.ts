import { type Job, UnrecoverableError, WaitingError } from 'bullmq';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { TaskRunner } from '../../../tasks/task-runner.js';
import { deadlineError } from '../../deadline-error.js';
import { createStuckAttempts, type Stuck, type StuckAttempts } from '../../stuck-attempts.js';
import { TurnoverMap } from '../../turnover.js';
import { untilClosed } from '../connection/closing.js';
import { RedisWork } from '../connection/connections.js';
import { keyOf } from '../jobs/job-ids.js';
import { jobProgress, summaryAfter } from '../jobs/job-view.js';
import { count, deadlineOf, jobFields } from '../jobs/task-job.js';
import type { LimitWarnings } from '../queues/limit-warnings.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import { Attempt } from './attempt.js';
import { type ClaimCalls, ClaimedJob } from './claimed-job.js';
import { type EndNotes, whyLost } from './end-notes.js';
import type { BackendDeps } from './ending-backend.js';
import {
  cancelledBeforeNotes,
  cancelNotes,
  deadlineNotes,
  type EndingAttempt,
  failureNotes,
  interruptNotes,
  nextAttempt,
  successNotes,
} from './ends.js';
import { HandlerOutput } from './handler-output.js';
import { ReturnedJobs } from './returned-jobs.js';
import { TaskBackend } from './task-backend.js';
import { cancelReason, claimedOf, named } from './task-facts.js';
import { TaskWorker } from './task-worker.js';
import { returnUnanswered } from './unanswered-fetches.js';

/** Milliseconds for which a stop waits for handlers after it has aborted their signals. */
const obeyTimeout = 250;

/** What an {@link Executor} uses. */
export interface ExecutorDeps extends ClaimCalls, BackendDeps {
  runner: TaskRunner;
  limitWarnings: LimitWarnings;
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
 * 5. `ClaimedJob` then reports the end: to the log, to listeners and to the statistics.
 */
export class Executor {
  readonly #deps: ExecutorDeps;
  readonly #workers = new Map<string, { worker: TaskWorker; entry: CatalogEntry }>();
  /** Attempts whose handlers run, by the key of the job, which is unique across all queues. */
  readonly #running = new TurnoverMap<string, Attempt>();
  /** Attempts that are over although their handlers still run. */
  readonly #holding = new Set<Attempt>();
  readonly #stuck: StuckAttempts;
  readonly #output: HandlerOutput;
  readonly #fetching: Background;
  readonly #returned: ReturnedJobs;
  #stopping = false;

  constructor(deps: ExecutorDeps) {
    this.#deps = deps;
    const { logger, changes, stuckChanged } = deps;
    this.#fetching = new RedisWork(logger, 'fetching tasks from Redis');
    this.#returned = new ReturnedJobs(logger);
    this.#output = new HandlerOutput({
      logger,
      changes,
      backend: (queue) => this.#workers.get(queue)?.worker.getBackend(),
    });
    this.#stuck = createStuckAttempts({ slots: () => this.slots, logger, changed: stuckChanged });
    deps.redis.on('ready', this.#reconnected);
  }

  /** The connection was made again, so answers may have been lost. */
  readonly #reconnected = (): void => {
    const { redis, name } = this.#deps;
    for (const { worker } of this.#workers.values())
      this.#fetching.run(() => returnUnanswered(worker.getBackend(), redis, name));
  };

  /** How many attempts run, without those that are over although their handlers still run. */
  get running(): number {
    return this.#running.size;
  }

  /** How many attempts run at once at most, over all queues. */
  get slots(): number {
    const { concurrency } = this.#deps.runner;
    return [...this.#workers.values()].reduce(
      (sum, { entry }) => sum + Math.min(concurrency, entry.concurrency ?? concurrency),
      0,
    );
  }

  /** Whether a job runs here, and no other process has taken it over. */
  runs(queue: string, jobId: string): boolean {
    return this.#find(queue, jobId)?.isLost === false;
  }

  /** Aborts the signal of an attempt that no longer has its job. */
  #lose(attempt: Attempt | undefined, isGone: boolean): void {
    const why = `the attempt is over, because ${whyLost(isGone)}`;
    attempt?.lose(new DOMException(why, 'AbortError'));
  }

  #find(queue: string, jobId: string): Attempt | undefined {
    return this.#running.get(keyOf(queue, jobId));
  }

  /** Starts a worker for each queue that has none yet. Returns whether it started any. */
  serve(entries: readonly CatalogEntry[]): boolean {
    if (this.#stopping) return false;
    const { runner, limitWarnings } = this.#deps;
    const before = this.#workers.size;
    for (const entry of entries) {
      limitWarnings.compare(entry, runner.names().get(entry.task ?? ''));
      if (!this.#workers.has(entry.queue)) runInEmptyContext(() => this.#serve(entry));
    }
    return this.#workers.size > before;
  }

  #serve(entry: CatalogEntry): void {
    const { redis, keys, name, lockDuration, kept, runner } = this.#deps;
    const worker: TaskWorker = new TaskWorker(
      entry.queue,
      (job, token) => this.#process(worker, entry, job, token ?? ''),
      {
        connection: redis,
        prefix: keys.prefix,
        name,
        concurrency: runner.concurrency,
        lockDuration,
        // `CrashRecovery` ends crashed jobs, because it knows which may run again.
        skipStalledCheck: true,
        runRetryDelay: 1000,
        removeOnComplete: kept,
        removeOnFail: kept,
      },
      TaskBackend.factory(this.#deps, {
        cancelRequested: (jobId) => this.cancel(new Set([keyOf(entry.queue, jobId)])),
        lockLost: (jobId, isGone) => this.#lose(this.#find(entry.queue, jobId), isGone),
      }),
    );
    worker.on('error', (err) => this.#fetching.failed(err));
    for (const event of ['ready', 'active', 'drained'] as const)
      worker.on(event, () => this.#fetching.worked());
    this.#workers.set(entry.queue, { worker, entry });
  }

  #process(worker: TaskWorker, entry: CatalogEntry, job: Job, token: string): Promise<unknown> {
    const task = worker.take(job);
    const backend = worker.getBackend();
    const { runner, limitWarnings } = this.#deps;
    const names = runner.names();
    if (!names.has(job.name)) return this.#returned.withoutHandler(backend, { job, task, token });
    const limit = entry.task === undefined ? names.get(job.name) : undefined;
    if (limit !== undefined) limitWarnings.missing(job.name, entry, limit);
    const running = this.#find(entry.queue, job.id ?? '');
    if (running?.over === false) {
      // Another process has taken over the job and put it back, or Redis has lost the start of the
      // attempt. BullMQ renews only the new lock, so nothing else would notice.
      if (!this.#stopping) this.#lose(running, false);
      return this.#returned.putBack(backend, { job, task, token });
    }
    // This process has just returned the task to the queue.
    if (this.#stopping) return this.#returned.putBack(backend, { job, task, token });
    const claimed = new ClaimedJob(this.#deps, { backend, entry, job, task });
    if (task.fields[jobFields.cancelling]) return this.#fail(claimed, cancelledBeforeNotes(task));
    // Another program's stalled check has put the job back, although its handler may have been
    // called.
    if (job.stalledCounter > count(task.fields[jobFields.stalls])) {
      claimed.ending = { job: task, attempt: nextAttempt(task), now: Date.now() };
      return this.#interrupt(claimed, claimed.ending);
    }
    const deadline = deadlineOf(task);
    if (deadline !== undefined && deadline <= Date.now())
      return this.#fail(claimed, deadlineNotes(task, deadlineError(job.name)));
    return this.#run(worker, claimed);
  }

  async #run(worker: TaskWorker, claimed: ClaimedJob): Promise<unknown> {
    const { runner, changes, logger } = this.#deps;
    const { entry, task: job } = claimed;
    const task = claimedOf(job, entry);
    const attempt = new Attempt({ task, queue: entry.queue, logger, output: this.#output });
    this.#running.set(attempt.key, attempt);
    changes.soon({ queue: entry.queue, jobId: task.id, state: 'active' });
    this.#began(claimed);
    claimed.running = runner.run(named(task, entry), attempt);
    const { result, ended } = claimed.running;
    if (ended !== result) void ended.then(() => this.#release(attempt, worker));
    const how = await attempt.outcome(result);
    if (ended === result) {
      if (typeof how === 'object') this.#release(attempt, worker);
      else void ended.then(() => this.#release(attempt, worker));
    }
    attempt.end();
    // Otherwise listeners would get the progress that the task had when it was fetched.
    if (attempt.lastProgress) job.json.progress = jobProgress(attempt.lastProgress);
    this.#output.write(attempt);
    // The handler still runs. BullMQ frees the job's slot once this function returns, so the slot
    // is held before that.
    if (this.#isRunning(attempt) && how !== 'handed back') this.#hold(attempt, worker);
    const lines = task.logLines + attempt.lineCount;
    const ending = { job, attempt: task.attempt, now: Date.now(), lines };
    claimed.ending = ending;
    if (how === 'cancelled' || attempt.cancelled) return this.#fail(claimed, cancelNotes(ending));
    if (how === 'handed back' || (this.#stopping && how.status === 'failed'))
      return this.#interrupt(claimed, ending);
    if (how.status === 'failed')
      return this.#fail(claimed, failureNotes(ending, how.error, how.retryIn), how.retryIn);
    claimed.willEnd(successNotes(ending, how));
    return undefined;
  }

  /** Tells listeners that an attempt has begun. */
  #began({ task, entry }: ClaimedJob): void {
    const observer = this.#deps.observer();
    if (observer?.wants('running')) observer.tell(summaryAfter(task, {}, entry, 'running'));
  }

  /** Ends an attempt because this process stops, or because another program took its job. */
  async #interrupt(claimed: ClaimedJob, ending: EndingAttempt): Promise<never> {
    const end = interruptNotes(ending);
    if (end.status !== 'pending') return this.#fail(claimed, end);
    claimed.willEnd(end);
    await claimed.backend.moveJobFromActiveToWait(claimed.id, claimed.job.token);
    throw new WaitingError();
  }

  /**
   * Ends a job as failed, or lets it wait for its next attempt in `retryIn` seconds. It throws the
   * error that makes BullMQ do so.
   */
  #fail(claimed: ClaimedJob, end: EndNotes, retryIn?: number): never {
    const { job } = claimed;
    claimed.willEnd(end);
    // The task's definition in this process decides, not the options with which the job was added.
    job.opts.attempts = job.attemptsMade + (retryIn === undefined ? 1 : 2);
    if (retryIn !== undefined)
      job.opts.backoff = { type: 'fixed', delay: Math.round(retryIn * 1000) };
    const message = end.error?.message ?? cancelReason;
    const thrown = retryIn === undefined ? new UnrecoverableError(message) : new Error(message);
    thrown.stack = end.error?.stack ?? '';
    throw thrown;
  }

  /** Cancels the attempts of jobs, by the keys of the jobs. */
  cancel(keys: ReadonlySet<string>): void {
    for (const attempt of this.#running.values())
      if (keys.has(attempt.key)) attempt.cancel(this.#deps.runner.cancelGrace(attempt.name));
  }

  #isRunning(attempt: Attempt): boolean {
    return this.#running.get(attempt.key) === attempt;
  }

  #hold(attempt: Attempt, worker: TaskWorker): void {
    this.#running.delete(attempt.key);
    this.#holding.add(attempt);
    worker.holdSlot();
    // A handler that obeys its signal may end in this turn of the event loop.
    setImmediate(() => {
      if (this.#holding.has(attempt) && !this.#stopping) this.#stuck.add(attempt);
    });
  }

  #release(attempt: Attempt, worker: TaskWorker): void {
    if (this.#isRunning(attempt)) this.#running.delete(attempt.key);
    if (!this.#holding.delete(attempt)) return;
    worker.freeSlot();
    this.#stuck.remove(attempt);
  }

  /**
   * Takes no more jobs, and waits for those that run. Jobs that still run after `timeout` seconds
   * are handed back.
   */
  async stop(timeout: number): Promise<void> {
    this.#deps.redis.off('ready', this.#reconnected);
    const workers = [...this.#workers.values()].map(({ worker }) => worker);
    const closed = Promise.allSettled(workers.map((worker) => worker.close()));
    const isDrained = await this.#drained(timeout * 1000, closed);
    this.#stopping = true;
    const left = [...this.#running.values(), ...this.#holding];
    if (!isDrained && left.length > 0) {
      this.#deps.logger.warn({ running: left.length }, 'stopped while tasks were running');
      for (const attempt of left) attempt.stop();
      await this.#drained(obeyTimeout, closed);
      for (const attempt of this.#running.values()) attempt.handBack();
    }
    // The caller's time is over, so this waits longer only if Redis answers.
    await untilClosed({ closed, redis: this.#deps.redis });
    for (const { worker } of this.#workers.values())
      for (const end of worker.getBackend().unconfirmed) end.listener?.abandoned?.();
    this.#output.flush();
    this.#stuck.close();
  }

  /** Whether all jobs have ended within so many milliseconds. */
  #drained(timeout: number, closed: Promise<unknown>): Promise<boolean> {
    return untilClosed({ closed, redis: this.#deps.redis, timeout, isIdle: () => this.#isIdle() });
  }

  #isIdle(): boolean {
    if (this.#running.size + this.#holding.size > 0) return false;
    return [...this.#workers.values()].every(({ worker }) => worker.getBackend().isIdle);
  }
}
