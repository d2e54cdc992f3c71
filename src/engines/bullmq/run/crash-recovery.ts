import { randomUUID } from 'node:crypto';
import type { RedisConnection as BullmqConnection, JobsOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import { RedisWork } from '../connection/connections.js';
import { EngineConnection } from '../connection/engine-connection.js';
import { answersOf } from '../connection/pipelines.js';
import type { ChangeNotes } from '../jobs/change-notes.js';
import { taskIdOf } from '../jobs/job-ids.js';
import { jobFields, type TaskJob } from '../jobs/task-job.js';
import type { EngineKeys } from '../keys.js';
import type { CatalogEntry, QueueCatalog } from '../queues/queue-catalog.js';
import type { KeptJobs } from '../queues/retention.js';
import { jobOfRow } from '../read/stored-jobs.js';
import type { EndListener, EndNotes } from './end-notes.js';
import { cancelNotes, interruptNotes, nextAttempt } from './ends.js';
import { type LockScope, lockKey, takeLocks } from './locks.js';
import { StableTime } from './stable-time.js';
import { TaskBackend } from './task-backend.js';
import { cancelReason, type EndCalls, reportEnd } from './task-facts.js';

interface CrashRecoveryDeps extends EndCalls {
  /** A command fails soon if Redis is unreachable. */
  redis: Redis;
  keys: EngineKeys;
  catalog: QueueCatalog;
  changes: ChangeNotes;
  logger: Logger;
  /** The name of this process in lists of workers. */
  name: string;
  /** Milliseconds. */
  lockDuration: number;
  /** Milliseconds between two rounds, over all processes. */
  stalledInterval: number;
  kept: KeptJobs;
  /** Whether this process runs a job. Its worker takes the lock again if it is missing. */
  runsHere(queue: string, jobId: string): boolean;
}

/** A running job whose worker died. */
interface Crashed {
  entry: CatalogEntry;
  jobId: string;
}

/**
 * Fields of a job's hash that decide how it ends or that observers see. The arguments are not
 * needed.
 */
const readFields = [
  ...[
    'name',
    'opts',
    'timestamp',
    'delay',
    'priority',
    'progress',
    'processedOn',
    'atm',
    'stc',
    'failedReason',
  ],
  ...Object.values(jobFields),
];
/** How many jobs are ended at once. */
const batch = 100;
/** Milliseconds for which a stop waits for the present round. */
const closing = 1000;

/**
 * Ends the jobs of processes that died, or puts them back into the queue. BullMQ's own check always
 * puts them back, also those that must not run again. Every started process takes part, so that
 * tasks end even if the last worker dies. In each round, one of the processes checks.
 *
 * A job has crashed if it is in the list of running jobs and has no lock. The process that takes
 * the lock decides how it ends. If its worker is still alive, it finds the lock taken, and its
 * result is dropped.
 */
export class CrashRecovery {
  readonly #deps: CrashRecoveryDeps;
  readonly #stableTime: StableTime;
  readonly #background: Background;
  readonly #connection: BullmqConnection;
  readonly #backends = new Map<string, TaskBackend>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;

  constructor(deps: CrashRecoveryDeps) {
    this.#deps = deps;
    const { redis, lockDuration, logger } = deps;
    this.#stableTime = new StableTime(redis, lockDuration);
    this.#background = new RedisWork(logger, 'looking for tasks of dead processes');
    this.#connection = new EngineConnection(redis);
  }

  start(): void {
    const interval = Math.min(this.#deps.stalledInterval, this.#stableTime.longestInterval);
    this.#timer = runInEmptyContext(() => setInterval(() => this.#begin(), interval).unref());
  }

  #begin(): void {
    if (this.#round) return;
    this.#background.run(() => {
      this.#round = this.#settle()
        .catch((error: unknown) => {
          // The cause that keeps this process from checking may also keep workers from renewing
          // their locks.
          this.#stableTime.restart();
          throw error;
        })
        .finally(() => {
          this.#round = undefined;
        });
      return this.#round;
    });
  }

  async #settle(): Promise<void> {
    const { redis, keys, stalledInterval, name, catalog } = this.#deps;
    if (!(await this.#stableTime.isSteady())) return;
    // The key expires a little before the interval ends, so that this process is not too early in
    // the next round.
    if (
      (await redis.set(keys.settling, name, 'PX', Math.ceil(stalledInterval * 0.8), 'NX')) !== 'OK'
    )
      return;
    await catalog.refresh();
    const crashed = await this.#find(catalog.all());
    for (let from = 0; from < crashed.length; from += batch)
      await this.#settleAll(crashed.slice(from, from + batch));
  }

  /** Running jobs without a lock. */
  async #find(entries: readonly CatalogEntry[]): Promise<Crashed[]> {
    const { redis, keys, runsHere } = this.#deps;
    if (entries.length === 0) return [];
    const lists = redis.pipeline();
    for (const { queue } of entries) lists.lrange(keys.ofQueue(queue, 'active'), 0, -1);
    const active = (await answersOf(lists)) as string[][];
    const running = entries
      .flatMap((entry, n) => (active[n] ?? []).map((jobId) => ({ entry, jobId })))
      .filter(({ entry, jobId }) => !runsHere(entry.queue, jobId));
    if (running.length === 0) return [];
    const locks = redis.pipeline();
    for (const { entry, jobId } of running) locks.exists(lockKey(this.#scope(entry), jobId));
    const locked = await answersOf(locks);
    return running.filter((_, n) => locked[n] === 0);
  }

  /** Ends jobs whose locks this process can take. Another process may have been faster. */
  async #settleAll(crashed: readonly Crashed[]): Promise<void> {
    const token = `recovery:${randomUUID()}`;
    await Promise.all(
      [...grouped(crashed)].map(async ([entry, jobIds]) => {
        const unlocked = jobIds.map((jobId) => ({ jobId, token }));
        const { taken } = await takeLocks(this.#deps.redis, this.#scope(entry), unlocked);
        const jobs = await this.#read(entry, [...taken]);
        await Promise.all(jobs.map((job) => this.#end(entry, job, token)));
      }),
    );
  }

  /**
   * Reads the fields that decide how jobs end. This process holds their locks, so no other changes
   * them.
   */
  async #read({ queue }: CatalogEntry, jobIds: readonly string[]): Promise<TaskJob[]> {
    if (jobIds.length === 0) return [];
    const { redis, keys } = this.#deps;
    const pipeline = redis.pipeline();
    for (const jobId of jobIds) pipeline.hmget(keys.ofQueue(queue, jobId), ...readFields);
    const answers = (await answersOf(pipeline)) as (string | null)[][];
    return jobIds.flatMap((jobId, n) => jobOfRow(jobId, readFields, answers[n] ?? []) ?? []);
  }

  /** Ends a job, or puts it back. */
  async #end(entry: CatalogEntry, job: TaskJob, token: string): Promise<void> {
    const backend = this.#backend(entry.queue);
    const { id } = job.json;
    const ending = { job, attempt: nextAttempt(job), now: Date.now() };
    const isCancelled = Boolean(job.fields[jobFields.cancelling]);
    const listener: EndListener = {
      stored: (end, at) => this.#stored(entry, job, end, at),
      cancelled: () => cancelNotes(ending),
    };
    const end = isCancelled ? cancelNotes(ending) : interruptNotes(ending);
    backend.willEnd(id, end, listener);
    if (end.status === 'pending') {
      await backend.moveJobFromActiveToWait(id, token);
      return;
    }
    const reason = end.error?.message ?? cancelReason;
    await backend.endFailed({ id, opts: (job.json.opts ?? {}) as JobsOptions }, reason, token);
  }

  #stored(entry: CatalogEntry, job: TaskJob, end: EndNotes, at: number): void {
    const { id, name } = job.json;
    this.#deps.logger.warn(
      {
        taskId: taskIdOf(entry.queue, id),
        task: name,
        attempt: nextAttempt(job),
        status: end.status,
      },
      'took over a task of a dead process',
    );
    reportEnd(this.#deps, job, entry, end, at);
  }

  #scope({ queue }: CatalogEntry): LockScope {
    const { keys, lockDuration } = this.#deps;
    return {
      active: keys.ofQueue(queue, 'active'),
      jobKey: (jobId) => keys.ofQueue(queue, jobId),
      duration: lockDuration,
    };
  }

  #backend(queue: string): TaskBackend {
    let backend = this.#backends.get(queue);
    if (!backend) {
      backend = TaskBackend.sharing(this.#connection, queue, this.#deps);
      this.#backends.set(queue, backend);
    }
    return backend;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stableTime.close();
    const round = this.#round?.catch(() => undefined);
    if (round)
      await Promise.race([round, new Promise((resolve) => setTimeout(resolve, closing).unref())]);
  }
}

function grouped(crashed: readonly Crashed[]): Map<CatalogEntry, string[]> {
  const groups = new Map<CatalogEntry, string[]>();
  for (const { entry, jobId } of crashed) groups.set(entry, [...(groups.get(entry) ?? []), jobId]);
  return groups;
}
