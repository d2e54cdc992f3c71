import {
  type BackendFactory,
  type FinishedStatus,
  type IRedisTransaction,
  type KeepJobs,
  type MinimalJob,
  type MoveToDelayedOpts,
  QueueKeys,
  type RedisClient,
  type RedisConnection,
  type RetryJobOpts,
  raw2NextJobData,
} from 'bullmq';
import { TurnoverMap } from '../../turnover.js';
import { persistently, untilRepeatable } from '../connection/connections.js';
import {
  WaitingBackend,
  type WorkerParts,
  workerArguments,
} from '../connection/waiting-backend.js';
import type { ChangeNotes } from '../jobs/change-notes.js';
import { endMarks, jobFields, markerAt } from '../jobs/task-job.js';
import type { Marker } from '../keys.js';
import { AddedLines } from './added-lines.js';
import {
  type EndListener,
  type EndNotes,
  type EndStep,
  refusals,
  type Verdict,
} from './end-notes.js';
import { FetchedJobs } from './fetched-jobs.js';
import { type LockScope, takeLocks } from './locks.js';
import { endMarked } from './marked-end.js';
import { type LockListener, MissingLocks } from './missing-locks.js';
import { cancelReason } from './task-facts.js';

interface TaskBackendParts extends WorkerParts, LockListener {
  changes: ChangeNotes;
  /** Milliseconds. */
  lockDuration: number;
  /** Which failed jobs are kept, including cancelled ones. */
  kept: KeepJobs;
}

/** What BullMQ's worker gets of a step: the job that it fetched next, and the time of the step. */
interface StepResult {
  result: undefined | unknown[];
  finishedOn: number;
}

/** How a job ends. */
interface Finish {
  status: FinishedStatus;
  /** JSON text of the result, or why the job failed. */
  value: string;
  /** Which ended jobs BullMQ keeps. */
  keep: boolean | number | KeepJobs;
  /** The token that the lock holds. */
  token: string;
  /** Default `false`. */
  fetchNext?: boolean;
  /** Further fields of the job's hash. */
  fields?: Record<string, unknown>;
  /** Unix milliseconds. Default: now. */
  at?: number;
}

/**
 * BullMQ's own backend for one queue. BullMQ's scripts decide where a job goes. This class adds
 * what BullMQ has no place for: the record of the attempt, the marker of an end, and the note for
 * processes that read. It also keeps this package's fields of a fetched job, which BullMQ's parser
 * drops.
 */
export class TaskBackend extends WaitingBackend {
  readonly #parts: TaskBackendParts;
  /** How attempts end, by job. Set just before BullMQ is told that the attempt is over. */
  readonly #ends = new TurnoverMap<string, EndNotes>();
  readonly #fetched = new FetchedJobs();
  readonly #lines: AddedLines;
  readonly #missing: MissingLocks;
  /**
   * The connection for commands, once it is ready. Awaiting it for each job would cost more than
   * the rest of a step.
   */
  #client: RedisClient | undefined;

  constructor(parts: TaskBackendParts, ...rest: ConstructorParameters<typeof WaitingBackend>) {
    super(...rest);
    this.#parts = parts;
    this.#lines = new AddedLines(parts.redis);
    this.#missing = new MissingLocks({
      ...{ redis: parts.redis, scope: this.lockScope, listener: parts },
      isRunning: ({ jobId, starts }) =>
        starts !== undefined && this.#fetched.starts(jobId) === starts,
    });
  }

  /** Returns a function that creates the backends of an engine's workers. */
  static factory(parts: TaskBackendParts): BackendFactory<TaskBackend> {
    return (queue, opts) => new TaskBackend(parts, ...workerArguments(parts, queue, opts));
  }

  /** Creates a backend that ends jobs and fetches none. */
  static sharing(connection: RedisConnection, queue: string, parts: TaskBackendParts): TaskBackend {
    const names = new QueueKeys(parts.keys.prefix);
    const opts = { connection: parts.redis, prefix: parts.keys.prefix };
    const toKey = (type: string): string => names.toKey(queue, type);
    return new TaskBackend(
      parts,
      undefined,
      connection,
      queue,
      names.getKeys(queue),
      toKey,
      opts,
      undefined,
      false,
    );
  }

  /**
   * Sets how the present attempt of a job ends. The job's next step stores it, and the listener
   * gets the outcome.
   */
  willEnd(jobId: string, notes: EndNotes, listener?: EndListener): void {
    notes.listener = listener;
    this.#ends.set(jobId, notes);
  }

  /** Whether no end of an attempt waits to be stored. */
  get isIdle(): boolean {
    return this.#ends.size === 0;
  }

  /** The ends of attempts that Redis has not confirmed. */
  get unconfirmed(): EndNotes[] {
    return [...this.#ends.values()];
  }

  /** Returns this package's fields of a job that was just fetched. */
  takeFetched(jobId: string): Record<string, string> | undefined {
    return this.#fetched.takeFields(jobId);
  }

  /** Whether this process has got a running job as the answer of a fetch. */
  hasFetched(jobId: string): boolean {
    return this.#fetched.starts(jobId) !== undefined;
  }

  override execCommand(
    client: RedisClient | IRedisTransaction,
    command: string,
    args: unknown[],
  ): unknown {
    const answer: unknown = super.execCommand(client, command, args);
    if (command !== 'moveToActive' || !(answer instanceof Promise)) return answer;
    return answer.then((raw: unknown) => this.#fetched.keep(raw));
  }

  override moveToCompleted<T, R, N extends string>(
    job: MinimalJob<T, R, N>,
    _returnValue: R,
    keep: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
  ): Promise<StepResult> {
    // The result is already JSON text, perhaps encrypted.
    const value = this.#ends.get(job.id ?? '')?.result ?? 'null';
    return this.#step(
      this.#finishing(job as MinimalJob, { status: 'completed', value, keep, token, fetchNext }),
    );
  }

  override moveToFailed<T, R, N extends string>(
    job: MinimalJob<T, R, N>,
    value: string,
    keep: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
    fields: Record<string, unknown> = {},
  ): Promise<StepResult> {
    return this.#step(
      this.#finishing(job as MinimalJob, {
        status: 'failed',
        value,
        keep,
        token,
        fetchNext,
        fields,
      }),
    );
  }

  /** Ends a job as failed that no worker of this process fetched, and whose lock holds `token`. */
  async endFailed(
    job: Pick<MinimalJob, 'opts'> & { id: string },
    reason: string,
    token: string,
  ): Promise<void> {
    await this.#step(
      this.#finishing(job as MinimalJob, {
        status: 'failed',
        value: reason,
        keep: this.#parts.kept,
        token,
      }),
    );
  }

  /** Builds the step that ends a job. `at`: Unix milliseconds. */
  #finishing(job: MinimalJob, finish: Finish): EndStep {
    const { status, value, keep, token, fetchNext = false, fields, at = Date.now() } = finish;
    const jobId = job.id ?? '';
    const { mark, all } = this.#fields(jobId, fields, at);
    const property = status === 'completed' ? 'returnvalue' : 'failedReason';
    const args = this.moveToFinishedArgs(
      job,
      value,
      property,
      keep,
      status,
      token,
      at,
      fetchNext,
      all,
    );
    return { command: 'moveToFinished', jobId, token, mark, args, at };
  }

  override async moveToDelayed(
    jobId: string,
    timestamp: number,
    delay: number,
    token = '0',
    opts: MoveToDelayedOpts = {},
  ): Promise<undefined | unknown[]> {
    const { mark, all } = this.#fields(jobId, opts.fieldsToUpdate, timestamp);
    // BullMQ would count the delay from now. The score in the queue would then differ from the time in the job.
    const dueAt = this.#ends.get(jobId)?.fields[jobFields.runAt];
    const wait = dueAt === undefined ? delay : Math.max(0, Number(dueAt) - timestamp);
    const args = this.moveToDelayedArgs(jobId, timestamp, token, wait, {
      ...opts,
      fieldsToUpdate: all,
    });
    return (await this.#step({ command: 'moveToDelayed', jobId, token, mark, args, at: timestamp }))
      .result;
  }

  override async retryJob(
    jobId: string,
    lifo: boolean,
    token = '0',
    opts: RetryJobOpts = {},
  ): Promise<void> {
    const at = Date.now();
    const { mark, all } = this.#fields(jobId, opts.fieldsToUpdate, at);
    const args = this.retryJobArgs(jobId, lifo, token, { ...opts, fieldsToUpdate: all });
    await this.#step({ command: 'retryJob', jobId, token, mark, args, at });
  }

  /**
   * Puts a job back at the head of its queue. It uses BullMQ's `retryJob`, which checks the lock
   * before it writes fields.
   */
  override async moveJobFromActiveToWait(jobId: string, token = '0'): Promise<number> {
    await this.retryJob(jobId, true, token);
    return 0;
  }

  /** The fields that a step writes into the job's hash. `at`: the time of the step. */
  #fields(
    jobId: string,
    fields: Record<string, unknown> | undefined,
    at: number,
  ): { mark: string; all: Record<string, unknown> } {
    const mark = endMarks.next();
    const notes = this.#ends.get(jobId);
    const all: Record<string, unknown> = { [jobFields.endMark]: mark };
    Object.assign(all, fields, notes?.fields);
    if (notes?.marker) all[jobFields.marker] = markerAt(notes.marker, at);
    return { mark, all };
  }

  /**
   * Runs a step together with what is stored beside it, and repeats it until Redis has answered.
   * Returns the next job.
   */
  async #step(first: EndStep): Promise<StepResult> {
    const { jobId, at } = first;
    let step = first;
    let notes = this.#ends.get(jobId);
    const starts = this.#fetched.starts(jobId);
    try {
      for (let mayTakeLock = true; ; ) {
        let raw: unknown;
        try {
          this.#client ??= await this.client;
          raw = await this.#send(this.#client, step, notes);
        } catch (error) {
          await untilRepeatable(this.#parts.redis, error);
          continue;
        }
        if (typeof raw !== 'number' || raw >= 0) {
          notes?.listener?.stored(notes, at);
          return {
            result: Array.isArray(raw) ? raw2NextJobData(this.#fetched.keep(raw)) : undefined,
            finishedOn: at,
          };
        }
        const verdict = await persistently(this.#parts.redis, () =>
          this.#judge(step, raw, mayTakeLock ? starts : undefined),
        );
        mayTakeLock = false;
        if (verdict === 'again') continue;
        const cancelled = typeof verdict === 'object' ? notes?.listener?.cancelled() : undefined;
        if (typeof verdict === 'object' && cancelled) {
          this.willEnd(jobId, cancelled, notes?.listener);
          [step, notes] = [this.#cancelling(step, verdict.token), cancelled];
          continue;
        }
        if (verdict === 'stored' && notes) notes.listener?.stored(notes, at);
        else notes?.listener?.dropped?.(verdict === 'gone');
        return { result: undefined, finishedOn: at };
      }
    } finally {
      // Cleared, because a map may still hold the notes, and the listener would keep the task in memory.
      if (notes) notes.listener = undefined;
      // A newer attempt of the same job may have set its own end.
      if (this.#ends.get(jobId) === notes) this.#ends.delete(jobId);
      this.#missing.forget(jobId);
      this.#fetched.forget(jobId, starts);
    }
  }

  /** Builds the step that ends a job as cancelled, in place of a step that was refused. */
  #cancelling({ jobId, at }: EndStep, token: string): EndStep {
    const job = { id: jobId, opts: { attempts: Number.MAX_SAFE_INTEGER } } as MinimalJob;
    return this.#finishing(job, {
      status: 'failed',
      value: cancelReason,
      keep: this.#parts.kept,
      token,
      at,
    });
  }

  /**
   * Sends a step, and a note of it for processes that read. Such a process finds a change a little
   * later if its note was lost. So a transaction, which costs more than all the rest, is used only
   * for what must be stored together with the step.
   */
  #send(client: RedisClient, step: EndStep, notes: EndNotes | undefined): unknown {
    if (notes?.marker) return this.#endMarked(client, step, notes.marker);
    // The note is sent after the step.
    if (notes)
      this.#parts.changes.soon({ queue: this.name, jobId: step.jobId, state: notes.state });
    return this.execCommand(client, step.command, step.args);
  }

  /** Ends a job that gets a marker. */
  #endMarked(
    client: RedisClient,
    { command, jobId, args, at }: EndStep,
    marker: Marker,
  ): Promise<unknown> {
    const { keys, changes } = this.#parts;
    // Readers take the last note about a job, so earlier ones are sent before.
    changes.flush();
    return endMarked({
      ...{ client, keys, end: { queue: this.name, jobId, marker, at } },
      step: (transaction) => this.execCommand(transaction, command, args),
    });
  }

  /**
   * Finds out why a script refused to end an attempt. If the step was executed before and its
   * answer was lost, the job has the mark of this step. If only the lock is missing, after an
   * outage or a pause of this process, this takes it again.
   */
  async #judge(
    { jobId, token, mark, command }: EndStep,
    code: number,
    starts: string | undefined,
  ): Promise<Verdict> {
    // Here the script has already written the mark, so the mark proves nothing.
    if (code === refusals.notRunning) return 'lost';
    if (!Object.values(refusals).includes(code))
      throw this.finishedErrors({ code, jobId, command, state: 'active' });
    const { redis } = this.#parts;
    if ((await redis.hget(this.toKey(jobId), jobFields.endMark)) === mark) return 'stored';
    if (code === refusals.noJob) return 'gone';
    // A lock with another token may hold that of a cancelled job.
    if (starts === undefined && code !== refusals.otherLock) return 'lost';
    const { taken, gone, cancelled } = await takeLocks(redis, this.lockScope, [
      { jobId, token, starts },
    ]);
    const held = cancelled.get(jobId);
    if (held !== undefined) return { token: held };
    if (taken.has(jobId)) return 'again';
    return gone.has(jobId) ? 'gone' : 'lost';
  }

  /** The keys of the locks of this queue. */
  get lockScope(): LockScope {
    return {
      active: this.toKey('active'),
      jobKey: (jobId) => this.toKey(jobId),
      duration: this.#parts.lockDuration,
    };
  }

  /** Renews locks, and takes missing ones again, which BullMQ would give up. */
  override async extendLocks(
    jobIds: string[],
    tokens: string[],
    duration: number,
  ): Promise<string[]> {
    // Before Redis answers, an attempt may end, and the next one of the same job may begin here.
    const attempts = jobIds.map((jobId, n) => ({
      jobId,
      token: tokens[n] ?? '',
      starts: this.#fetched.starts(jobId),
    }));
    const failed = new Set(await super.extendLocks(jobIds, tokens, duration));
    const held = await this.#missing.take(attempts.filter(({ jobId }) => failed.has(jobId)));
    if (held.size > 0) await super.extendLocks([...held.keys()], [...held.values()], duration);
    return [];
  }

  /** Adds lines to the log of a job, unless it was removed. */
  addLines(jobId: string, lines: readonly string[]): Promise<void> {
    return this.#lines.add(this.toKey(jobId), lines);
  }

  override async updateProgress(
    ...args: Parameters<WaitingBackend['updateProgress']>
  ): Promise<void> {
    try {
      await super.updateProgress(...args);
    } catch (error) {
      // The progress of a job that was removed while it ran is of no use.
      if ((error as { code?: unknown }).code !== refusals.noJob) throw error;
    }
  }

  /**
   * Plans the next job of a job scheduler. If this failed, BullMQ would never start the job that it
   * has just fetched.
   */
  override updateJobSchedulerNextMillis(
    ...args: Parameters<WaitingBackend['updateJobSchedulerNextMillis']>
  ): Promise<string | null> {
    return persistently(this.#parts.redis, () => super.updateJobSchedulerNextMillis(...args));
  }
}
