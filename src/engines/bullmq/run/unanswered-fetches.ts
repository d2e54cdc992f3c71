import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { attemptField, attemptsOf, jobFields } from '../jobs/task-job.js';
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
  await Promise.all(unknown(running).map((jobId) => putBack(backend, redis, name, jobId)));
}

/**
 * Fields of a job's hash: which worker has it, how often it was started, and how many attempts have
 * ended.
 */
const readFields = [
  'name',
  'pb',
  'ats',
  'atm',
  'failedReason',
  jobFields.attempts,
  jobFields.seriesStart,
  jobFields.interrupts,
  jobFields.error,
];

/** Puts back a running job if this process has it. */
async function putBack(
  backend: TaskBackend,
  redis: Redis,
  name: string,
  jobId: string,
): Promise<void> {
  const { lockScope } = backend;
  const key = lockScope.jobKey(jobId);
  const [values, held] = await Promise.all([
    redis.hmget(key, ...readFields),
    redis.get(lockKey(lockScope, jobId)),
  ]);
  const job = jobOfRow(jobId, readFields, values);
  if (!job || job.fields.pb !== name) return;
  const token = held ?? `returned:${randomUUID()}`;
  const unlocked = { jobId, token, starts: String(job.json.attemptsStarted) };
  // The lock may have expired.
  if (held === null && !(await takeLocks(redis, lockScope, [unlocked])).taken.has(jobId)) return;
  const field = attemptField(attemptsOf(job));
  const record = await redis.hget(key, field);
  const fields = record === null ? job.fields : { ...job.fields, [field]: record };
  backend.willEnd(jobId, unstartedNotes({ ...job, fields }));
  await backend.moveToDelayed(jobId, Date.now(), 0, token, { skipAttempt: true });
}
