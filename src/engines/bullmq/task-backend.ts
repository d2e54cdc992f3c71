import {
  type BackendFactory,
  type FinishedStatus,
  type IRedisTransaction,
  type KeepJobs,
  type MinimalJob,
  type MoveToDelayedOpts,
  QueueKeys,
  type RedisClient,
  RedisConnection,
  RedisQueueBackend,
  type RetryJobOpts,
  raw2NextJobData,
} from 'bullmq';
import type { Redis } from 'ioredis';
import type { ChangeNotes, Transaction } from './change-notes.js';
import type { EngineKeys, Marker } from './keys.js';

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
}

interface TaskBackendParts {
  /** Shared by all queues of this process. Its commands wait for a Redis that is unreachable. */
  redis: Redis;
  /** What this process is called in lists of workers. */
  name: string;
  keys: EngineKeys;
  changes: ChangeNotes;
}

/** A step of BullMQ that ends an attempt, with its arguments. */
interface Step {
  command: 'moveToFinished' | 'moveToDelayed' | 'retryJob' | 'moveJobFromActiveToWait';
  jobId: string;
  args: unknown[];
  /** Unix milliseconds. */
  at: number;
}

/**
 * BullMQ's own backend for one queue. Its scripts decide where a job goes; this class only adds, in the same transaction, what
 * BullMQ has no place for: the record of the attempt, the marker of an end, and the note for processes that read. It also keeps
 * the fields of this package that came with a job, which BullMQ's parser drops.
 */
export class TaskBackend extends RedisQueueBackend {
  readonly #parts: TaskBackendParts;
  /** How attempts under way end, set just before BullMQ is told. */
  readonly #ends = new Map<string, EndNotes>();
  /** Hashes of jobs that were fetched and not taken yet. */
  readonly #fetched = new Map<string, Record<string, string>>();

  constructor(parts: TaskBackendParts, ...rest: ConstructorParameters<typeof RedisQueueBackend>) {
    super(...rest);
    this.#parts = parts;
  }

  /** Makes the backends of an engine's workers. Each has a connection of its own that waits for jobs. */
  static factory(parts: TaskBackendParts): BackendFactory<TaskBackend> {
    return (queue, opts) => {
      const names = new QueueKeys(parts.keys.prefix);
      // The name by which BullMQ lists workers.
      const connectionName = `${names.prefix}:${Buffer.from(queue).toString('base64')}:w:${parts.name}`;
      const main = new RedisConnection(parts.redis, { shared: true, blocking: false });
      const waiting = new RedisConnection(parts.redis.duplicate({ connectionName }), { shared: false, blocking: true });
      return new TaskBackend(parts, main, queue, names.getKeys(queue), (type) => names.toKey(queue, type), opts, waiting);
    };
  }

  /** Says how the present attempt of a job ends. It is written with the next step of that job. */
  willEnd(jobId: string, notes: EndNotes): void {
    this.#ends.set(jobId, notes);
  }

  /** The hash of a job that was just fetched, all of its fields as text. */
  takeFetched(jobId: string): Record<string, string> | undefined {
    const fields = this.#fetched.get(jobId);
    this.#fetched.delete(jobId);
    return fields;
  }

  override execCommand(client: RedisClient | IRedisTransaction, command: string, args: unknown[]): unknown {
    const answer: unknown = super.execCommand(client, command, args);
    if (!(answer instanceof Promise) || !fetching.has(command)) return answer;
    return answer.then((raw: unknown) => this.#keepFetched(raw));
  }

  override async moveToCompleted<T, R, N extends string>(
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

  override async moveToFailed<T, R, N extends string>(
    job: MinimalJob<T, R, N>,
    failedReason: string,
    removeOnFail: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
    fields: Record<string, unknown> = {},
  ): Promise<{ result: undefined | unknown[]; finishedOn: number }> {
    return this.#finish(job, failedReason, 'failedReason', removeOnFail, 'failed', token, fetchNext, fields);
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
    const all = fieldsToWrite(fields, this.#ends.get(jobId));
    const args = this.moveToFinishedArgs(job, value, property, keep, status, token, finishedOn, fetchNext, all);
    const result = await this.#step({ command: 'moveToFinished', jobId, args, at: finishedOn });
    return { result, finishedOn };
  }

  override async moveToDelayed(
    jobId: string,
    timestamp: number,
    delay: number,
    token = '0',
    opts: MoveToDelayedOpts = {},
  ): Promise<undefined | unknown[]> {
    const fieldsToUpdate = fieldsToWrite(opts.fieldsToUpdate, this.#ends.get(jobId));
    const args = this.moveToDelayedArgs(jobId, timestamp, token, delay, { ...opts, ...(fieldsToUpdate && { fieldsToUpdate }) });
    return this.#step({ command: 'moveToDelayed', jobId, args, at: timestamp });
  }

  override async retryJob(jobId: string, lifo: boolean, token = '0', opts: RetryJobOpts = {}): Promise<void> {
    const fieldsToUpdate = fieldsToWrite(opts.fieldsToUpdate, this.#ends.get(jobId));
    const args = this.retryJobArgs(jobId, lifo, token, { ...opts, ...(fieldsToUpdate && { fieldsToUpdate }) });
    await this.#step({ command: 'retryJob', jobId, args, at: Date.now() });
  }

  override async moveJobFromActiveToWait(jobId: string, token = '0'): Promise<number> {
    const { active, wait, stalled, paused, meta, limiter, prioritized, marker, events } = this.keys;
    const keys = [active, wait, stalled, paused, meta, limiter, prioritized, marker, events];
    const args = [...keys, jobId, token, this.toKey(jobId)];
    await this.#step({ command: 'moveJobFromActiveToWait', jobId, args, at: Date.now() });
    return 0;
  }

  /** Runs a step with what is to be written beside it. */
  async #step(step: Step): Promise<undefined | unknown[]> {
    const notes = this.#ends.get(step.jobId);
    const client = await this.client;
    const raw = notes ? await this.#together(client, step, notes) : await this.execCommand(client, step.command, step.args);
    this.#ends.delete(step.jobId);
    if (typeof raw === 'number' && raw < 0)
      throw this.finishedErrors({ code: raw, jobId: step.jobId, command: step.command, state: 'active' });
    notes?.stored?.(step.at);
    return Array.isArray(raw) ? raw2NextJobData(raw) : undefined;
  }

  async #together(client: RedisClient, { command, jobId, args }: Step, { fields, state, marker }: EndNotes): Promise<unknown> {
    const { keys, changes } = this.#parts;
    // It is a transaction of ioredis, of which BullMQ's type shows a part.
    const transaction = client.multi() as IRedisTransaction & Transaction;
    this.execCommand(transaction, command, args);
    // The other steps write the fields themselves, in their script.
    if (command === 'moveJobFromActiveToWait') transaction.hset(this.toKey(jobId), fields);
    changes.addTo(transaction, [{ queue: this.name, jobId, state }]);
    if (marker) transaction.zadd(keys.marked(this.name, marker), Date.now(), jobId);
    const [error, raw] = (await transaction.exec())?.[0] ?? [new Error('the transaction was dropped'), undefined];
    if (error) throw error;
    return this.#keepFetched(raw);
  }

  /** Keeps the hash of the job that an answer holds, if it holds one. */
  #keepFetched(raw: unknown): unknown {
    if (!Array.isArray(raw)) return raw;
    const [flat, jobId] = raw as unknown[];
    if (Array.isArray(flat) && typeof jobId === 'string') this.#fetched.set(jobId, fieldsOf(flat as string[]));
    return raw;
  }
}

/** Steps whose answer can hold the next job to run. */
const fetching: ReadonlySet<string> = new Set(['moveToActive', 'moveToFinished', 'moveToDelayed']);

/** Fields of BullMQ and of this package together. None must be left out: BullMQ's script cannot write an empty list. */
function fieldsToWrite(fields: Readonly<Record<string, unknown>> = {}, notes: EndNotes | undefined): Record<string, unknown> | undefined {
  const all = { ...fields, ...notes?.fields };
  return Object.keys(all).length > 0 ? all : undefined;
}

function fieldsOf(flat: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let n = 0; n + 1 < flat.length; n += 2) fields[flat[n] ?? ''] = flat[n + 1] ?? '';
  return fields;
}
