import type { AttemptResult, StoredError } from '../../../tasks/task-runner.js';
import { interruptedError } from '../../interrupted-error.js';
import { storedObject } from '../connection/stored-object.js';
import {
  type AttemptRecord,
  attemptField,
  attemptsOf,
  count,
  deadlineOf,
  errorNote,
  jobFields,
  notesOfJob,
  type TaskJob,
} from '../jobs/task-job.js';
import type { EndNotes } from './end-notes.js';

/** The attempt that ends. */
export interface EndingAttempt {
  job: TaskJob;
  /** Its number. */
  attempt: number;
  /** Unix milliseconds. */
  now: number;
  /** Log lines of the task so far, if the attempt ran here: all attempts share one limit. */
  lines?: number;
}

/** Longest record of one attempt; the stack and the causes are left out of a longer one. */
const longestRecord = 64 * 1024;

/**
 * BullMQ sets `processedOn` when a worker fetches a job. If the worker then does not run the job,
 * this clears the field.
 */
const notStarted = { processedOn: '' } as const;

/** How a cancelled job ends, without its fields. */
const asCancelled = {
  status: 'cancelled',
  loggedAs: 'cancelled',
  state: 'failed',
  marker: 'cancelled',
} as const;

/** Fields of a job that was cancelled. */
const cancelled = { [jobFields.error]: '', [jobFields.cancelling]: '' };

/**
 * What is written when an attempt succeeds. BullMQ's own fields describe that attempt, so it needs
 * no record.
 */
export function successNotes(
  ending: EndingAttempt,
  result: Extract<AttemptResult, { status: 'success' }>,
): EndNotes {
  const { job, attempt } = ending;
  const fields: Record<string, string | number> = {};
  // BullMQ counts the first attempt itself. A task that was cancelled and run again already has
  // this count.
  if (attempt > 1 || job.fields[jobFields.attempts] !== undefined)
    fields[jobFields.attempts] = attempt;
  // The task succeeded, so the error of an earlier attempt is no longer the task's error.
  if (job.fields[jobFields.error]) fields[jobFields.error] = '';
  if (result.resultOmitted !== undefined) fields[jobFields.resultOmitted] = result.resultOmitted;
  return {
    status: 'success',
    loggedAs: 'reported',
    state: 'completed',
    result: result.result,
    fields,
  };
}

/** What is written when an attempt fails, for good or until the next one in `retryIn` seconds. */
export function failureNotes(
  ending: EndingAttempt,
  error: StoredError,
  retryIn: number | undefined,
): EndNotes {
  return {
    status: retryIn === undefined ? 'failed' : 'pending',
    loggedAs: 'reported',
    error,
    state: retryIn === undefined ? 'failed' : retryIn > 0 ? 'delayed' : 'waiting',
    fields: {
      ...recordOf(ending, 'failed', error),
      ...errorField(error),
      ...(retryIn !== undefined && dueAt(ending.now + Math.round(retryIn * 1000))),
    },
  };
}

/** Fields of a job that waits for its next attempt until `time`, in Unix milliseconds. */
function dueAt(time: number): EndNotes['fields'] {
  return { [jobFields.runAt]: time, [jobFields.returned]: '' };
}

/**
 * Returns what is written when a job that was fetched is put back before an attempt begins. Its
 * attempts stay as they are. BullMQ has replaced the start of the last attempt with the time of the
 * fetch, so this restores it.
 */
export function unstartedNotes(job: TaskJob): EndNotes {
  const { start } = storedObject(job.fields[attemptField(attemptsOf(job))]);
  return {
    status: 'pending',
    loggedAs: 'pending',
    state: 'delayed',
    fields: { processedOn: typeof start === 'number' ? start : '' },
  };
}

/** Returns what is written when a worker puts back a job that it has no handler for. */
export function returnNotes(job: TaskJob, times: number): EndNotes {
  const notes = unstartedNotes(job);
  return { ...notes, fields: { ...notes.fields, [jobFields.returned]: times } };
}

/** What is written when a task fails without another attempt, because its deadline has passed. */
export function deadlineNotes(job: TaskJob, error: StoredError): EndNotes {
  // BullMQ counts an attempt whenever a job ends, also if none ran.
  const fields = { ...notStarted, ...errorField(error), [jobFields.attempts]: attemptsOf(job) };
  return { status: 'failed', loggedAs: 'reported', error, state: 'failed', fields };
}

/** What is written when a running task is cancelled. */
export function cancelNotes(ending: EndingAttempt): EndNotes {
  return {
    ...asCancelled,
    fields: { ...recordOf(ending, 'cancelled', undefined), ...cancelled },
  };
}

/**
 * What is written when a task is cancelled after a worker fetched it and before its attempt began.
 */
export function cancelledBeforeNotes(job: TaskJob): EndNotes {
  const fields = { ...notStarted, [jobFields.attempts]: attemptsOf(job), ...cancelled };
  return { ...asCancelled, fields };
}

/**
 * What is written when the process of an attempt ended before it. The status is `pending` if the
 * task may run again.
 */
export function interruptNotes(ending: EndingAttempt): EndNotes & { error: StoredError } {
  const { job, now } = ending;
  const { interrupts = 0 } = notesOfJob(job);
  const deadline = deadlineOf(job);
  const died = count(job.fields[jobFields.interrupts]);
  const { stalledCounter: stalls } = job.json;
  const error = interruptedError;
  const fields = {
    ...recordOf(ending, 'interrupted', error),
    ...errorField(error),
    ...(stalls > 0 && { [jobFields.stalls]: stalls }),
  };
  if (died >= interrupts || (deadline !== undefined && deadline <= now))
    return {
      status: 'interrupted',
      loggedAs: 'interrupted',
      error,
      state: 'failed',
      marker: 'interrupted',
      fields,
    };
  // BullMQ itself writes the reason only if a job fails.
  const again = { ...dueAt(now), failedReason: error.message, [jobFields.interrupts]: died + 1 };
  return {
    status: 'pending',
    loggedAs: 'pending',
    error,
    state: 'waiting',
    fields: { ...fields, ...again },
  };
}

/** Returns the number of the attempt that a fetched job is about to begin. */
export function nextAttempt(job: TaskJob): number {
  return attemptsOf(job) + 1;
}

function recordOf(
  { job, attempt, now, lines = 0 }: EndingAttempt,
  status: AttemptRecord['status'],
  error: StoredError | undefined,
): EndNotes['fields'] {
  const record: AttemptRecord = {
    start: job.json.processedOn ?? now,
    end: now,
    status,
    ...(error && { error }),
  };
  let text = JSON.stringify(record);
  if (error && text.length > longestRecord) {
    const { name, message, fingerprint } = error;
    text = JSON.stringify({
      ...record,
      error: { name, message, fingerprint, stack: null, truncated: true },
    });
  }
  return {
    [jobFields.attempts]: attempt,
    [attemptField(attempt)]: text,
    ...(lines > 0 && { [jobFields.logLines]: lines }),
  };
}

function errorField(error: StoredError): EndNotes['fields'] {
  return { [jobFields.error]: errorNote(error) };
}
