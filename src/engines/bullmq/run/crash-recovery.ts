import { randomUUID } from 'node:crypto';
import type { MinimalJob, RedisConnection } from 'bullmq';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import { RedisWork } from '../connection/connections.js';
import { EngineConnection } from '../connection/engine-connection.js';
import { send } from '../connection/pipelines.js';
import { withinTime } from '../connection/redis-connection.js';
import { attemptLimit } from '../jobs/job-view.js';
import { jobFields, type TaskJob } from '../jobs/task-job.js';
import type { CatalogEntry, QueueCatalog } from '../queues/queue-catalog.js';
import { jobOfRow } from '../read/stored-jobs.js';
import type { ClaimCalls } from './claimed-job.js';
import type { EndListener, EndNotes } from './end-notes.js';
import type { BackendDeps } from './ending-backend.js';
import { cancelNotes, interruptNotes, nextAttempt } from './ends.js';
import { lockKey, takeLocks } from './locks.js';
import { StableTime } from './stable-time.js';
import { TaskBackend } from './task-backend.js';
import { attemptFields, cancelReason, reportEnd } from './task-facts.js';

interface CrashRecoveryDeps extends ClaimCalls, BackendDeps {
  catalog: QueueCatalog;
  /** Milliseconds between two rounds, over all processes. */
  stalledInterval: number;
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
  readonly #connection: RedisConnection;
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
      await Promise.all(crashed.slice(from, from + batch).map((job) => this.#end(job)));
  }

  /** Running jobs without a lock. */
  async #find(entries: readonly CatalogEntry[]): Promise<Crashed[]> {
    const { redis, keys, runsHere } = this.#deps;
    const lists = entries.map(({ queue }) => ['lrange', keys.ofQueue(queue, 'active'), 0, -1]);
    const active = (await send(redis, lists)) as string[][];
    const running = entries
      .flatMap((entry, n) => (active[n] ?? []).map((jobId) => ({ entry, jobId })))
      .filter(({ entry, jobId }) => !runsHere(entry.queue, jobId));
    const locks = running.map(({ entry, jobId }) => [
      'exists',
      lockKey(this.#backend(entry.queue).lockScope, jobId),
    ]);
    const locked = await send(redis, locks);
    return running.filter((_, n) => locked[n] === 0);
  }

  /**
   * Ends a job, or puts it back, if this process can take its lock. Another process may have been
   * faster.
   */
  async #end({ entry, jobId: id }: Crashed): Promise<void> {
    const { redis, keys } = this.#deps;
    const backend = this.#backend(entry.queue);
    const token = `recovery:${randomUUID()}`;
    const { taken } = await takeLocks(redis, backend.lockScope, [{ jobId: id, token }]);
    if (!taken.has(id)) return;
    // This process holds the lock, so no other changes these fields.
    const values = await redis.hmget(keys.ofQueue(entry.queue, id), ...readFields);
    const job = jobOfRow(id, readFields, values);
    if (!job) return;
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
    // BullMQ's script would fail halfway without a limit of attempts.
    const opts = { ...job.json.opts, attempts: attemptLimit(job.json.opts?.attempts) };
    const failed = { id, opts } as MinimalJob;
    const reason = end.error?.message ?? cancelReason;
    await backend.moveToFailed(failed, reason, this.#deps.kept, token, false);
  }

  #stored(entry: CatalogEntry, job: TaskJob, end: EndNotes, at: number): void {
    const fields = { ...attemptFields(job, entry), status: end.status };
    this.#deps.logger.warn(fields, 'took over a task of a dead process');
    reportEnd(this.#deps, job, entry, end, at);
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
    if (this.#round) await withinTime(this.#round, closing).catch(() => undefined);
  }
}
