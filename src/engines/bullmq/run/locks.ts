import type { Redis } from 'ioredis';
import { redisScript, runScript } from '../connection/redis-script.js';
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
interface TakenLocks {
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
 * Takes the missing locks of jobs that still run as the same attempt. It is one step, so that no
 * process can start a job again between the comparison and the change of its lock. KEYS: the list
 * of running jobs, then the hash and the lock of each job. ARGV: the duration in milliseconds, the
 * fields with the count of starts and with the cancel request, then the id, the token and the count
 * of starts of each job, which is empty if it is unknown.
 */
const take = redisScript(`
local answers = {}
for n = 1, (#KEYS - 1) / 2 do
  local job, lock = KEYS[2 * n], KEYS[2 * n + 1]
  local id, token, starts = ARGV[3 * n + 1], ARGV[3 * n + 2], ARGV[3 * n + 3]
  local fields = redis.call('HMGET', job, ARGV[2], ARGV[3])
  local isSame = redis.call('LPOS', KEYS[1], id) and (starts == '' or starts == fields[1])
  if isSame then
    redis.call('SET', lock, token, 'PX', ARGV[1], 'NX')
  end
  answers[n] = { isSame and 1 or 0, redis.call('GET', lock), fields[1], fields[2] }
end
return answers
`);

type LockAnswer = [
  isSame: number,
  held: string | null,
  starts: string | null,
  cancelling: string | null,
];

/**
 * Takes missing locks. It leaves alone a lock that another process holds, and a job that no longer
 * runs or has been started again since.
 */
export async function takeLocks(
  redis: Redis,
  scope: LockScope,
  jobs: readonly Unlocked[],
): Promise<TakenLocks> {
  const answers = (await runScript(
    redis,
    take,
    [scope.active, ...jobs.flatMap(({ jobId }) => [scope.jobKey(jobId), lockKey(scope, jobId)])],
    [
      scope.duration,
      startsField,
      jobFields.cancelling,
      ...jobs.flatMap(({ jobId, token, starts = '' }) => [jobId, token, starts]),
    ],
  )) as LockAnswer[];
  const taken = new Set<string>();
  const cancelled = new Map<string, string>();
  const gone = new Set<string>();
  for (const [n, { jobId, token }] of jobs.entries()) {
    const [isSame, held, starts, cancelling] = answers[n] as LockAnswer;
    // Another call in this process may just have taken it.
    if (held === token && isSame) taken.add(jobId);
    if (isSame && cancelling && (held === token || held === cancelledToken(token)))
      cancelled.set(jobId, held);
    if (starts === null) gone.add(jobId);
  }
  return { taken, cancelled, gone };
}

export function lockKey(scope: Pick<LockScope, 'jobKey'>, jobId: string): string {
  return `${scope.jobKey(jobId)}:lock`;
}
