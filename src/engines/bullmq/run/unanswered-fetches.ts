import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { answersOf } from '../connection/pipelines.js';
import { attemptField, attemptsOf, jobFields, type TaskJob } from '../jobs/task-job.js';
import { jobOfRow } from '../read/stored-jobs.js';
import { unstartedNotes } from './ends.js';
import { lockKey, takeLocks } from './locks.js';
import type { TaskBackend } from './task-backend.js';

/**
 * Puts back jobs that this process fetched without getting the answer, because the connection
 * broke. Their handlers were not called, so this counts as no attempt. Without it, these jobs would
 * end as interrupted once their locks have expired.
 *
 * @param name The name of this process in lists of workers, which BullMQ stores in each job that it
 * fetches.
 */
export async function returnUnanswered(
  backend: TaskBackend,
  redis: Redis,
  name: string,
): Promise<void> {
  const unknown = (jobIds: readonly string[]): string[] =>
    jobIds.filter((jobId) => !backend.hasFetched(jobId));
  // Answers arrive in order, so those to all earlier fetches have been read once this one has, and
  // a moment has passed.
  const running = unknown(await redis.lrange(backend.lockScope.active, 0, -1));
  await setImmediate();
  const jobIds = unknown(running);
  if (jobIds.length === 0) return;
  const pipeline = redis.pipeline();
  for (const jobId of jobIds) {
    pipeline.hmget(backend.lockScope.jobKey(jobId), ...readFields);
    pipeline.get(lockKey(backend.lockScope, jobId));
  }
  const answers = await answersOf(pipeline);
  for (const [n, jobId] of jobIds.entries()) {
    const [values, token] = answers.slice(2 * n, 2 * n + 2) as [(string | null)[], string | null];
    const job = jobOfRow(jobId, readFields, values);
    if (job?.fields.pb === name) await putBack(backend, redis, { job, token });
  }
}

/**
 * Fields of a job's hash: which worker has it, how often it was started, and how many attempts have
 * ended.
 */
const readFields = [
  ...['name', 'pb', 'ats', 'atm', 'failedReason'],
  ...[jobFields.attempts, jobFields.seriesStart, jobFields.interrupts, jobFields.error],
];

interface Unanswered {
  job: TaskJob;
  /** What the lock holds; null if it has expired. */
  token: string | null;
}

async function putBack(
  backend: TaskBackend,
  redis: Redis,
  { job, token: held }: Unanswered,
): Promise<void> {
  const { id: jobId, attemptsStarted } = job.json;
  const token = held ?? `returned:${randomUUID()}`;
  const starts = String(attemptsStarted);
  if (
    held === null &&
    !(await takeLocks(redis, backend.lockScope, [{ jobId, token, starts }])).taken.has(jobId)
  )
    return;
  const field = attemptField(attemptsOf(job));
  const record = await redis.hget(backend.lockScope.jobKey(jobId), field);
  backend.willEnd(
    jobId,
    unstartedNotes(record === null ? job : { ...job, fields: { ...job.fields, [field]: record } }),
  );
  await backend.moveToDelayed(jobId, Date.now(), 0, token, { skipAttempt: true });
}
