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
import type { CatalogEntry } from '../queues/queue-catalog.js';
import type { Queues } from '../queues/queues.js';
import { logOf, readLines } from './log-lines.js';
import { dueTime } from './source.js';
import { jobOfHash, jsonOrText } from './stored-jobs.js';

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
  entry: CatalogEntry,
  id: string,
  logLines: number,
): Promise<TaskDetail | undefined> {
  const found = await readJob(queues, entry.queue, id);
  if (!found) return undefined;
  const { job, state, dueAt } = found;
  const { json, fields } = job;
  const status = statusOf(job, state);
  const summary = summaryOf(job, entry, status, dueAt);
  const logs =
    logLines === 0
      ? []
      : await readLines(logOf(queues.get(entry.queue), id), {
          before: Number.MAX_SAFE_INTEGER,
          limit: logLines,
        });
  const attempts = [...attemptsOfJob(job), ...lastAttempt(job, status)];
  const last = summary.error ? lastError(attempts, summary.error.message) : undefined;
  const omitted = fields[jobFields.resultOmitted];
  return {
    ...summary,
    error: summary.error && { ...summary.error, ...(last && detailsOf(last)) },
    args: argumentsOf(json.data),
    attempts,
    logs,
    result: status === 'success' && json.returnvalue !== '' ? jsonOrText(json.returnvalue) : null,
    ...(omitted && { resultOmitted: omitted }),
    stack: summary.error ? (last ? last.stack : stackOf(json)) : null,
    rerunOf: notesOfJob(job).rerunOf ?? null,
    rerunAs: fields[jobFields.rerunAs] ?? null,
  };
}

function attemptsOfJob(job: TaskJob): Attempt[] {
  const attempts: Attempt[] = [];
  const ended = attemptsOf(job);
  for (let number = Math.max(1, ended - maxAttempts + 1); number <= ended; number++) {
    const record = recordOf(job.fields[attemptField(number)]);
    if (record) {
      const { start, end, status, error } = record;
      const shown = error && { ...error };
      if (shown) delete (shown as Partial<typeof shown>).fingerprint;
      attempts.push({
        number,
        status,
        startedAt: isoTime(start),
        endedAt: isoTime(end),
        error: shown ?? null,
      });
    }
  }
  return attempts;
}

/**
 * Returns the attempt that only BullMQ's own fields describe: a running one, a successful one, or
 * one that failed in a worker of another program.
 */
function lastAttempt(job: TaskJob, status: TaskStatus): Attempt[] {
  const { processedOn, finishedOn, timestamp, stacktrace, failedReason } = job.json;
  const startedAt = isoTime(processedOn ?? timestamp);
  const ended = attemptsOf(job);
  if (status === 'running')
    return [{ number: ended + 1, status, startedAt, endedAt: null, error: null }];
  const endedAt = isoTime(finishedOn ?? timestamp);
  if (status === 'success') return [{ number: ended, status, startedAt, endedAt, error: null }];
  if (status !== 'failed' || ended === 0 || job.fields[attemptField(ended)] !== undefined)
    return [];
  const stack = stacksOf(stacktrace).at(-1) ?? null;
  return [
    {
      number: ended,
      status,
      startedAt,
      endedAt,
      error: { name: 'Error', message: failedReason, stack },
    },
  ];
}

/** Parses the record of an attempt. Returns undefined for a text of another form. */
function recordOf(text: string | undefined): AttemptRecord | undefined {
  const record = storedObject(text);
  return isRecord(record) ? record : undefined;
}

function isRecord(record: object): record is AttemptRecord {
  const { start, end, status, error } = record as Partial<Record<keyof AttemptRecord, unknown>>;
  if (typeof start !== 'number' || typeof end !== 'number' || !isStatus(status)) return false;
  return (
    error === undefined ||
    (isObject(error) && typeof error.name === 'string' && typeof error.message === 'string')
  );
}

function isStatus(status: unknown): boolean {
  return (attemptStatuses as readonly unknown[]).includes(status);
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

function detailsOf({
  name: _name,
  message: _message,
  stack: _stack,
  ...details
}: TaskError): Omit<TaskError, 'name' | 'message' | 'stack'> {
  return details;
}

/** Returns the arguments of a job. Another program may store any value or text. */
function argumentsOf(data: string): readonly unknown[] {
  const value = data === '' ? null : jsonOrText(data);
  if (typeof value === 'string') return value as unknown as readonly unknown[];
  return Array.isArray(value) ? value : [value];
}
