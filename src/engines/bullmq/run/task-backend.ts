import type {
  BackendFactory,
  FinishedStatus,
  IRedisTransaction,
  KeepJobs,
  MinimalJob,
  MoveToDelayedOpts,
  RedisClient,
  RedisConnection,
  RetryJobOpts,
} from 'bullmq';
import { persistently } from '../connection/connections.js';
import { backendArguments } from '../connection/engine-connection.js';
import { type WaitingBackend, workerArguments } from '../connection/waiting-backend.js';
import { endMarks, jobFields, markerAt } from '../jobs/task-job.js';
import { AddedLines } from './added-lines.js';
import { type EndStep, refusals } from './end-notes.js';
import { type BackendDeps, EndingBackend, type StepResult } from './ending-backend.js';
import type { LockListener } from './missing-locks.js';
import { cancelReason } from './task-facts.js';

/** What BullMQ's script takes of a job that ends. */
type EndedJob = Pick<MinimalJob, 'id' | 'opts'>;

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
export class TaskBackend extends EndingBackend {
  readonly #lines = new AddedLines(this.deps.redis);

  /** Returns a function that creates the backends of an engine's workers. */
  static factory(deps: BackendDeps, listener: LockListener = {}): BackendFactory<TaskBackend> {
    return (queue, opts) => new TaskBackend(deps, listener, ...workerArguments(deps, queue, opts));
  }

  /** Creates a backend that ends jobs and fetches none. */
  static sharing(connection: RedisConnection, queue: string, deps: BackendDeps): TaskBackend {
    const { prefix } = deps.keys;
    const opts = { connection: deps.redis, prefix };
    const args = backendArguments(connection, prefix, queue, opts);
    return new TaskBackend(deps, {}, undefined, ...args, undefined, false);
  }

  /** Returns this package's fields of a job that was just fetched. */
  takeFetched(jobId: string): Record<string, string> | undefined {
    return this.fetched.takeFields(jobId);
  }

  /** Whether this process has got a running job as the answer of a fetch. */
  hasFetched(jobId: string): boolean {
    return this.fetched.starts(jobId) !== undefined;
  }

  override execCommand(
    client: RedisClient | IRedisTransaction,
    command: string,
    args: unknown[],
  ): unknown {
    const answer: unknown = super.execCommand(client, command, args);
    if (command !== 'moveToActive' || !(answer instanceof Promise)) return answer;
    return answer.then((raw: unknown) => this.fetched.keep(raw));
  }

  override moveToCompleted<T, R, N extends string>(
    job: MinimalJob<T, R, N>,
    _returnValue: R,
    keep: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
  ): Promise<StepResult> {
    // The result is already JSON text, perhaps encrypted.
    const value = this.ends.get(job.id ?? '')?.result ?? 'null';
    return this.runStep(
      this.#finishing(job, { status: 'completed', value, keep, token, fetchNext }),
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
    return this.runStep(
      this.#finishing(job, { status: 'failed', value, keep, token, fetchNext, fields }),
    );
  }

  /** Builds the step that ends a job. `at`: Unix milliseconds. */
  #finishing(job: EndedJob, finish: Finish): EndStep {
    const { status, value, keep, token, fetchNext = false, fields, at = Date.now() } = finish;
    const jobId = job.id ?? '';
    const { mark, all } = this.#fields(jobId, fields, at);
    const property = status === 'completed' ? 'returnvalue' : 'failedReason';
    const args = this.moveToFinishedArgs(
      job as MinimalJob,
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
    // BullMQ would count the delay from now. The score in the queue would then differ from the time
    // in the job.
    const dueAt = this.ends.get(jobId)?.fields[jobFields.runAt];
    const wait = dueAt === undefined ? delay : Math.max(0, Number(dueAt) - timestamp);
    const args = this.moveToDelayedArgs(jobId, timestamp, token, wait, {
      ...opts,
      fieldsToUpdate: all,
    });
    return (
      await this.runStep({ command: 'moveToDelayed', jobId, token, mark, args, at: timestamp })
    ).result;
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
    await this.runStep({ command: 'retryJob', jobId, token, mark, args, at });
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
    const notes = this.ends.get(jobId);
    const all: Record<string, unknown> = { [jobFields.endMark]: mark };
    Object.assign(all, fields, notes?.fields);
    if (notes?.marker) all[jobFields.marker] = markerAt(notes.marker, at);
    return { mark, all };
  }

  /** Builds the step that ends a job as cancelled, in place of a step that was refused. */
  protected override cancellingStep({ jobId, at }: EndStep, token: string): EndStep {
    const job = { id: jobId, opts: { attempts: Number.MAX_SAFE_INTEGER } };
    const { kept: keep } = this.deps;
    return this.#finishing(job, { status: 'failed', value: cancelReason, keep, token, at });
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
      starts: this.fetched.starts(jobId),
    }));
    const failed = new Set(await super.extendLocks(jobIds, tokens, duration));
    const held = await this.missing.take(attempts.filter(({ jobId }) => failed.has(jobId)));
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
    return persistently(this.deps.redis, () => super.updateJobSchedulerNextMillis(...args));
  }
}
