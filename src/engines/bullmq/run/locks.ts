import type { Redis } from 'ioredis';
import { answersOf } from '../connection/pipelines.js';
import { cancelledPrefix, jobFields } from '../jobs/task-job.js';

/** The keys of the BullMQ queue whose locks are taken. */
export interface LockScope {
  /** The list of running jobs. */
  active: string;
  /** The hash of a job. */
  jobKey(jobId: string): string;
  /** Milliseconds. */
  duration: number;
}

/** A job whose lock is missing. */
export interface Unlocked {
  jobId: string;
  /** The token that the lock is to hold. */
  token: string;
  /**
   * BullMQ's count of starts when this attempt began. A different count means a different attempt.
   */
  starts?: string | undefined;
}

/**
 * What became of missing locks. Jobs in neither set belong to another attempt or process, or have
 * ended.
 */
export interface TakenLocks {
  /** Jobs whose lock now holds the given token. */
  taken: ReadonlySet<string>;
  /** Jobs that are to be cancelled, each with the token that its lock holds. */
  cancelled: ReadonlyMap<string, string>;
  /** Jobs that no longer exist. */
  gone: ReadonlySet<string>;
}

/**
 * Returns the token to which the command that cancels a running job changes the lock of the job.
 * With the old token, the worker can store no other end, whatever its handler returns.
 */
function cancelledToken(token: string): string {
  return `${cancelledPrefix}${token}`;
}

/** Field of a job's hash: how often it was started. */
const startsField = 'ats';

/**
 * Takes missing locks. It leaves alone a lock that another process holds, and a job that no longer
 * runs or has been started again since.
 */
export async function takeLocks(
  redis: Redis,
  scope: LockScope,
  jobs: readonly Unlocked[],
): Promise<TakenLocks> {
  const pipeline = redis.pipeline();
  for (const { jobId, token } of jobs) {
    pipeline.set(lockKey(scope, jobId), token, 'PX', scope.duration, 'NX');
    pipeline.get(lockKey(scope, jobId));
    pipeline.lpos(scope.active, jobId);
    pipeline.hmget(scope.jobKey(jobId), startsField, jobFields.cancelling);
  }
  const answers = await answersOf(pipeline);
  const taken = new Set<string>();
  const cancelled = new Map<string, string>();
  const gone = new Set<string>();
  const wrong: Unlocked[] = [];
  for (const [n, job] of jobs.entries()) {
    const [set, held, position, fields] = answers.slice(n * 4, n * 4 + 4);
    const [starts, isCancelled] = fields as (string | null)[];
    const isSame =
      typeof position === 'number' && (job.starts === undefined || job.starts === starts);
    if (set === 'OK' && !isSame) wrong.push(job);
    // Another call in this process may just have taken it.
    if (held === job.token && isSame) taken.add(job.jobId);
    if (isSame && isCancelled && (held === job.token || held === cancelledToken(job.token)))
      cancelled.set(job.jobId, String(held));
    if (starts === null) gone.add(job.jobId);
  }
  await releaseLocks(redis, scope, wrong);
  return { taken, cancelled, gone };
}

/** Releases locks, except those that now hold another token. */
async function releaseLocks(
  redis: Redis,
  scope: LockScope,
  jobs: readonly Unlocked[],
): Promise<void> {
  if (jobs.length === 0) return;
  const keys = jobs.map(({ jobId }) => lockKey(scope, jobId));
  const held = await redis.mget(keys);
  const own = keys.filter((_, n) => held[n] === jobs[n]?.token);
  if (own.length > 0) await redis.del(own);
}

export function lockKey(scope: Pick<LockScope, 'jobKey'>, jobId: string): string {
  return `${scope.jobKey(jobId)}:lock`;
}
