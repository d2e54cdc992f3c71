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
import { type ChangeNotes, memberOf, type Transaction } from '../change-notes.js';
import { persistently, untilRepeatable } from '../connections.js';
import type { Marker } from '../keys.js';
import { endMarks, jobFields } from '../task-job.js';
import { WaitingBackend, type WorkerParts, workerArguments } from '../waiting-backend.js';
import { FetchedJobs } from './fetched-jobs.js';
import { type LockScope, takeLocks } from './locks.js';

/** What is written together with BullMQ's own step when an attempt ends. */
export interface EndNotes {
  /** Fields of the job's hash. */
  fields: Readonly<Record<string, string | number>>;
  /** State that readers are told of. */
  state: 'waiting' | 'delayed' | 'completed' | 'failed';
  /** How it ended, if BullMQ's `failed` does not say it. */
  marker?: Marker | undefined;
  /** JSON text of the result, as it is to be stored. */
  result?: string | undefined;
  /** Called once it is written, with the time of it in Unix milliseconds. */
  stored?: ((at: number) => void) | undefined;
  /** Called instead if it is not written, because the attempt no longer had the job. `isGone`: the job no longer exists. */
  dropped?: ((isGone: boolean) => void) | undefined;
  /** Called instead if this process stops before Redis has confirmed it. */
  abandoned?: (() => void) | undefined;
}

interface TaskBackendParts extends WorkerParts {
  changes: ChangeNotes;
  /** Milliseconds. */
  lockDuration: number;
  /** Called when another process has the lock of a job that runs here. `isGone`: the job no longer exists. */
  lockLost?(jobId: string, isGone: boolean): void;
}

/** A step of BullMQ that ends an attempt, with its arguments. */
interface Step {
  command: 'moveToFinished' | 'moveToDelayed' | 'retryJob';
  jobId: string;
  /** What the lock holds. */
  token: string;
  /** Written with the end. */
  mark: string;
  args: unknown[];
  /** Unix milliseconds. */
  at: number;
}

/** What it means that a step was refused: its end is stored, can be tried again, belongs to another process, or to no job. */
type Verdict = 'stored' | 'again' | 'lost' | 'gone';

/** Answers of BullMQ's scripts to an attempt that does not have its job. */
const refusals = { noJob: -1, noLock: -2, notRunning: -3, otherLock: -6 };

/**
 * BullMQ's own backend for one queue. Its scripts decide where a job goes; this class only adds, in the same transaction, what
 * BullMQ has no place for: the record of the attempt, the marker of an end, and the note for processes that read. It also keeps
 * the fields of this package that came with a job, which BullMQ's parser drops.
 */
export class TaskBackend extends WaitingBackend {
  readonly #parts: TaskBackendParts;
  /** How attempts under way end, set just before BullMQ is told. */
  readonly #ends = new Map<string, EndNotes>();
  readonly #fetched = new FetchedJobs();
  /** Jobs that run here although another process has taken over. */
  readonly #lost = new Set<string>();
  /** The connection for commands, once it was there. To await it for each job would cost more than the rest of a step. */
  #client: RedisClient | undefined;

  constructor(parts: TaskBackendParts, ...rest: ConstructorParameters<typeof WaitingBackend>) {
    super(...rest);
    this.#parts = parts;
  }

  /** Makes the backends of an engine's workers. */
  static factory(parts: TaskBackendParts): BackendFactory<TaskBackend> {
    return (queue, opts) => new TaskBackend(parts, ...workerArguments(parts, queue, opts));
  }

  /** A backend that ends jobs and fetches none. */
  static sharing(connection: RedisConnection, queue: string, parts: TaskBackendParts): TaskBackend {
    const names = new QueueKeys(parts.keys.prefix);
    const opts = { connection: parts.redis, prefix: parts.keys.prefix };
    const toKey = (type: string): string => names.toKey(queue, type);
    return new TaskBackend(parts, undefined, connection, queue, names.getKeys(queue), toKey, opts, undefined, false);
  }

  /** Says how the present attempt of a job ends. It is written with the next step of that job. */
  willEnd(jobId: string, notes: EndNotes): void {
    this.#ends.set(jobId, notes);
  }

  /** Whether no end of an attempt is to be stored. */
  get isIdle(): boolean {
    return this.#ends.size === 0;
  }

  /** The ends of attempts that Redis has not confirmed. */
  get unconfirmed(): EndNotes[] {
    return [...this.#ends.values()];
  }

  /** The fields of this package of a job that was just fetched. */
  takeFetched(jobId: string): Record<string, string> | undefined {
    return this.#fetched.takeFields(jobId);
  }

  override execCommand(client: RedisClient | IRedisTransaction, command: string, args: unknown[]): unknown {
    const answer: unknown = super.execCommand(client, command, args);
    if (command !== 'moveToActive' || !(answer instanceof Promise)) return answer;
    return answer.then((raw: unknown) => this.#fetched.keep(raw));
  }

  override moveToCompleted<T, R, N extends string>(
    job: MinimalJob<T, R, N>,
    _returnValue: R,
    removeOnComplete: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
  ): Promise<{ result: undefined | unknown[]; finishedOn: number }> {
    // The result is JSON text already, perhaps encrypted.
    const value = this.#ends.get(job.id ?? '')?.result ?? 'null';
    return this.#finish(job, value, 'returnvalue', removeOnComplete, 'completed', token, fetchNext, {});
  }

  override moveToFailed<T, R, N extends string>(
    job: MinimalJob<T, R, N>,
    failedReason: string,
    removeOnFail: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
    fields: Record<string, unknown> = {},
  ): Promise<{ result: undefined | unknown[]; finishedOn: number }> {
    return this.#finish(job, failedReason, 'failedReason', removeOnFail, 'failed', token, fetchNext, fields);
  }

  /** Ends a job that no worker of this process fetched, whose lock holds `token`. */
  async endFailed({ id, opts }: Pick<MinimalJob, 'opts'> & { id: string }, reason: string, keep: KeepJobs, token: string): Promise<void> {
    await this.#finish({ id, opts } as MinimalJob, reason, 'failedReason', keep, 'failed', token, false, {});
  }

  async #finish<T, R, N extends string>(
    job: MinimalJob<T, R, N>,
    value: string,
    property: 'returnvalue' | 'failedReason',
    keep: boolean | number | KeepJobs,
    status: FinishedStatus,
    token: string,
    fetchNext: boolean,
    fields: Record<string, unknown>,
  ): Promise<{ result: undefined | unknown[]; finishedOn: number }> {
    const jobId = job.id ?? '';
    const finishedOn = Date.now();
    const { mark, all } = this.#fields(jobId, fields);
    const args = this.moveToFinishedArgs(job, value, property, keep, status, token, finishedOn, fetchNext, all);
    const result = await this.#step({ command: 'moveToFinished', jobId, token, mark, args, at: finishedOn });
    return { result, finishedOn };
  }

  override async moveToDelayed(
    jobId: string,
    timestamp: number,
    delay: number,
    token = '0',
    opts: MoveToDelayedOpts = {},
  ): Promise<undefined | unknown[]> {
    const { mark, all } = this.#fields(jobId, opts.fieldsToUpdate);
    // BullMQ would count the delay from this moment, and the time in the job would be another one.
    const dueAt = this.#ends.get(jobId)?.fields[jobFields.runAt];
    const wait = dueAt === undefined ? delay : Math.max(0, Number(dueAt) - timestamp);
    const args = this.moveToDelayedArgs(jobId, timestamp, token, wait, { ...opts, fieldsToUpdate: all });
    return this.#step({ command: 'moveToDelayed', jobId, token, mark, args, at: timestamp });
  }

  override async retryJob(jobId: string, lifo: boolean, token = '0', opts: RetryJobOpts = {}): Promise<void> {
    const { mark, all } = this.#fields(jobId, opts.fieldsToUpdate);
    const args = this.retryJobArgs(jobId, lifo, token, { ...opts, fieldsToUpdate: all });
    await this.#step({ command: 'retryJob', jobId, token, mark, args, at: Date.now() });
  }

  /** Returns a job to the head of its queue. BullMQ's `retryJob` does so too, and writes fields only if the lock is right. */
  override async moveJobFromActiveToWait(jobId: string, token = '0'): Promise<number> {
    await this.retryJob(jobId, true, token);
    return 0;
  }

  /** What a step writes into the hash of the job. */
  #fields(jobId: string, fields: Record<string, unknown> | undefined): { mark: string; all: Record<string, unknown> } {
    const mark = endMarks.next();
    const all: Record<string, unknown> = { [jobFields.endMark]: mark };
    Object.assign(all, fields, this.#ends.get(jobId)?.fields);
    return { mark, all };
  }

  /** Runs a step with what is to be written beside it. It is repeated until Redis has answered. */
  async #step(step: Step): Promise<undefined | unknown[]> {
    const { jobId } = step;
    const notes = this.#ends.get(jobId);
    const starts = this.#fetched.starts(jobId);
    const { redis } = this.#parts;
    try {
      for (let mayTakeLock = true; ; ) {
        let raw: unknown;
        try {
          this.#client ??= await this.client;
          raw = await this.#send(this.#client, step, notes);
        } catch (error) {
          await untilRepeatable(redis, error);
          continue;
        }
        if (typeof raw !== 'number' || raw >= 0) {
          notes?.stored?.(step.at);
          return Array.isArray(raw) ? raw2NextJobData(this.#fetched.keep(raw)) : undefined;
        }
        const verdict = await persistently(redis, () => this.#judge(step, raw, mayTakeLock ? starts : undefined));
        mayTakeLock = false;
        if (verdict === 'again') continue;
        if (verdict === 'stored') notes?.stored?.(step.at);
        else await this.#drop(jobId, notes, verdict === 'gone');
        return undefined;
      }
    } finally {
      // The map may stay in memory longer than its entries, and the task with it.
      if (notes) notes.stored = notes.dropped = notes.abandoned = undefined;
      this.#ends.delete(jobId);
      this.#lost.delete(jobId);
      this.#fetched.forget(jobId, starts);
    }
  }

  /**
   * Runs a step and tells readers of it. A reader finds a change whose note was lost a little later, so a transaction, which
   * costs more than the rest, is used only for what must be written with the step.
   */
  #send(client: RedisClient, step: Step, notes: EndNotes | undefined): unknown {
    if (notes?.marker) return this.#together(client, step, notes);
    // The note is written behind the step.
    if (notes) this.#parts.changes.soon({ queue: this.name, jobId: step.jobId, state: notes.state });
    return this.execCommand(client, step.command, step.args);
  }

  /**
   * What it means that a script refused to end an attempt. If it was executed before, with its answer lost, the job has the mark of
   * this step. If only the lock is missing, after an outage or a pause of this process, it is taken again.
   */
  async #judge({ jobId, token, mark, command }: Step, code: number, starts: string | undefined): Promise<Verdict> {
    // The script has written the mark before it noticed.
    if (code === refusals.notRunning) return 'lost';
    if (!Object.values(refusals).includes(code)) throw this.finishedErrors({ code, jobId, command, state: 'active' });
    const { redis } = this.#parts;
    if ((await redis.hget(this.toKey(jobId), jobFields.endMark)) === mark) return 'stored';
    if (code === refusals.noJob) return 'gone';
    if (code !== refusals.noLock || starts === undefined) return 'lost';
    const { taken, gone } = await takeLocks(redis, this.#scope(), [{ jobId, token, starts }]);
    if (taken.has(jobId)) return 'again';
    return gone.has(jobId) ? 'gone' : 'lost';
  }

  /** Takes back what was written beside a step that was refused. */
  async #drop(jobId: string, notes: EndNotes | undefined, isGone: boolean): Promise<void> {
    const { redis, keys } = this.#parts;
    const marker = notes?.marker;
    if (marker && (await redis.hget(this.toKey(jobId), jobFields.marker)) !== marker)
      await redis.zrem(keys.marked(this.name, marker), jobId);
    notes?.dropped?.(isGone);
  }

  #scope(): LockScope {
    return { active: this.toKey('active'), jobKey: (jobId) => this.toKey(jobId), duration: this.#parts.lockDuration };
  }

  /** Renews locks, and takes those again that are missing: after an outage all are. BullMQ would give them up. */
  override async extendLocks(jobIds: string[], tokens: string[], duration: number): Promise<string[]> {
    const failed = await super.extendLocks(jobIds, tokens, duration);
    const missing = failed
      .filter((jobId) => !this.#lost.has(jobId))
      .map((jobId) => ({ jobId, token: tokens[jobIds.indexOf(jobId)] ?? '', starts: this.#fetched.starts(jobId) }));
    if (missing.length === 0) return [];
    const { taken, gone } = await takeLocks(this.#parts.redis, this.#scope(), missing);
    for (const { jobId } of missing) {
      if (taken.has(jobId)) continue;
      this.#lost.add(jobId);
      this.#parts.lockLost?.(jobId, gone.has(jobId));
    }
    return [];
  }

  override async addLog(jobId: string, line: string, keep?: number): Promise<number> {
    return ifJobExists(super.addLog(jobId, line, keep), 0);
  }

  override async updateProgress(...args: Parameters<WaitingBackend['updateProgress']>): Promise<void> {
    return ifJobExists(super.updateProgress(...args), undefined);
  }

  override async moveToActive(token: string, name?: string): Promise<unknown[]> {
    try {
      return await super.moveToActive(token, name);
    } catch (error) {
      // BullMQ's worker would ask again at once.
      if (this.#parts.redis.status === 'ready') await new Promise((resolve) => setTimeout(resolve, fetchRetryDelay));
      throw error;
    }
  }

  async #together(client: RedisClient, { command, jobId, args, at }: Step, { state, marker }: EndNotes): Promise<unknown> {
    const { keys, changes } = this.#parts;
    // It is a transaction of ioredis, of which BullMQ's type shows a part.
    const transaction = client.multi() as IRedisTransaction & Transaction;
    this.execCommand(transaction, command, args);
    changes.addTo(transaction, [{ queue: this.name, jobId, state }]);
    if (marker) transaction.zadd(keys.marked(this.name, marker), at, jobId);
    if (marker === 'cancelled') transaction.hdel(keys.cancelling, memberOf({ queue: this.name, jobId }));
    const [error, raw] = (await transaction.exec())?.[0] ?? [new Error('the transaction was dropped'), undefined];
    if (error) throw error;
    return raw;
  }
}

/** Milliseconds. */
const fetchRetryDelay = 1000;

/** What is written of a job that was removed while it ran is of no use. */
async function ifJobExists<T>(written: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await written;
  } catch (error) {
    if ((error as { code?: unknown }).code === refusals.noJob) return otherwise;
    throw error;
  }
}
