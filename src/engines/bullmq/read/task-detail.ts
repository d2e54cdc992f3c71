import type { StoredError } from '../../../tasks/task-runner.js';
import type { Attempt, TaskDetail, TaskError, TaskStatus } from '../../../tasks/types.js';
import { isObject, storedObject } from '../connection/stored-object.js';
import { stacksOf } from '../jobs/job-stacks.js';
import { isJobState, isoTime, type JobState, statusOf, summaryOf } from '../jobs/job-view.js';
import {
  type AttemptRecord,
  attemptField,
  attemptStatuses,
  attemptsOf,
  jobFields,
  notesOfJob,
  type TaskJob,
} from '../jobs/task-job.js';

import type { Queues } from '../queues/queues.js';
import { logOf, readLines } from './log-lines.js';
import { dueTime } from './source.js';
import { jobOfHash, jsonOrText, type LocatedJob } from './stored-jobs.js';

/** Maximum number of attempts that are shown. The last ones are shown. */
const maxAttempts = 1000;

/** Maximum number of reads of a job that moves all the time. */
const maxTries = 5;

/** A job with the state it is in. */
export interface FoundJob {
  job: TaskJob;
  state: JobState;
  /** When its delay ends, in Unix milliseconds. */
  dueAt: number | undefined;
}

/** Reads a job and its state. Returns undefined if the job no longer exists. */
export async function readJob(
  queues: Queues,
  name: string,
  id: string,
): Promise<FoundJob | undefined> {
  const queue = queues.get(name);
  const client = await queue.getBackend().client;
  let state = await queue.getJobState(id);
  for (let tries = 1; ; tries++) {
    const [hash, score, after] = await Promise.all([
      client.hgetall(queue.toKey(id)),
      state === 'delayed' ? client.zscore(queue.toKey('delayed'), id) : null,
      queue.getJobState(id),
    ]);
    // If the job has moved, its fields may belong to another state than the first one.
    if (after === state || tries === maxTries) {
      const job = jobOfHash(id, hash);
      return job && isJobState(state) ? { job, state, dueAt: dueTime(score) } : undefined;
    }
    state = after;
  }
}

/** Reads the details of a task. */
export async function readTask(
  queues: Queues,
  place: LocatedJob,
  logLines: number,
): Promise<TaskDetail | undefined> {
  const { queue, jobId } = place;
  const found = await readJob(queues, queue, jobId);
  if (!found) return undefined;
  const { job, state, dueAt } = found;
  const { json, fields } = job;
  const status = statusOf(job, state);
  const summary = summaryOf(job, place, status, dueAt);
  const logs =
    logLines === 0
      ? []
      : await readLines(logOf(queues.get(queue), jobId), {
          before: Number.MAX_SAFE_INTEGER,
          limit: logLines,
        });
  const attempts = [...attemptsOfJob(job), ...lastAttempt(job, status)];
  const { error } = summary;
  const { stack = null, ...details }: Partial<TaskError> = (error &&
    lastError(attempts, error.message)) ?? { stack: stackOf(json) };
  const omitted = fields[jobFields.resultOmitted];
  return {
    ...summary,
    error: error && { ...details, ...error },
    args: argumentsOf(json.data),
    attempts,
    logs,
    result: status === 'success' && json.returnvalue !== '' ? jsonOrText(json.returnvalue) : null,
    ...(omitted && { resultOmitted: omitted }),
    stack: error && stack,
    rerunOf: notesOfJob(job).rerunOf ?? null,
    rerunAs: fields[jobFields.rerunAs] ?? null,
  };
}

function attemptsOfJob(job: TaskJob): Attempt[] {
  const attempts: Attempt[] = [];
  const ended = attemptsOf(job);
  for (let number = Math.max(1, ended - maxAttempts + 1); number <= ended; number++) {
    const record = storedObject(job.fields[attemptField(number)]);
    if (!isRecord(record)) continue;
    const { start, end, status, error } = record;
    attempts.push({
      number,
      status,
      startedAt: isoTime(start),
      endedAt: isoTime(end),
      error: error ? shownError(error) : null,
    });
  }
  return attempts;
}

function shownError({ fingerprint: _fingerprint, ...error }: StoredError): TaskError {
  return error;
}

/**
 * Returns the attempt that only BullMQ's own fields describe: a running one, a successful one, or
 * one that failed in a worker of another program.
 */
function lastAttempt(job: TaskJob, status: TaskStatus): Attempt[] {
  const { processedOn, finishedOn, timestamp, stacktrace, failedReason } = job.json;
  const ended = attemptsOf(job);
  const attempt = {
    number: ended,
    startedAt: isoTime(processedOn ?? timestamp),
    endedAt: isoTime(finishedOn ?? timestamp),
    error: null,
  };
  if (status === 'running') return [{ ...attempt, number: ended + 1, status, endedAt: null }];
  if (status === 'success') return [{ ...attempt, status }];
  if (status !== 'failed' || ended === 0 || job.fields[attemptField(ended)] !== undefined)
    return [];
  const stack = stacksOf(stacktrace).at(-1) ?? null;
  return [{ ...attempt, status, error: { name: 'Error', message: failedReason, stack } }];
}

/** Whether a stored object is the record of an attempt. */
function isRecord(record: object): record is AttemptRecord {
  const { start, end, status, error } = record as Partial<Record<keyof AttemptRecord, unknown>>;
  return (
    typeof start === 'number' &&
    typeof end === 'number' &&
    (attemptStatuses as readonly unknown[]).includes(status) &&
    (error === undefined ||
      (isObject(error) && typeof error.name === 'string' && typeof error.message === 'string'))
  );
}

/**
 * Returns the last error of the attempts, if it is the error of the task. An attempt of another
 * program, or an expired deadline, has no record.
 */
function lastError(attempts: readonly Attempt[], message: string): TaskError | undefined {
  const error = attempts.findLast((attempt) => attempt.error !== null)?.error ?? undefined;
  // The messages are compared as bytes, because Redis cannot store half of a surrogate pair.
  return error && Buffer.from(error.message).equals(Buffer.from(message)) ? error : undefined;
}

/** Returns BullMQ's stack of an error without a record. */
function stackOf({ stacktrace, failedReason }: TaskJob['json']): string | null {
  const stack = stacksOf(stacktrace).at(-1);
  return stack?.includes(failedReason) ? stack : null;
}

/** Returns the arguments of a job. Another program may store any value or text. */
function argumentsOf(data: string): readonly unknown[] {
  const value = data === '' ? null : jsonOrText(data);
  if (typeof value === 'string') return value as unknown as readonly unknown[];
  return Array.isArray(value) ? value : [value];
}
