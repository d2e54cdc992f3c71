import { createHash, randomBytes } from 'node:crypto';
import type { JobJson, JobsOptions } from 'bullmq';
import type { NewTask } from '../../../tasks/new-task.js';
import type { StoredError } from '../../../tasks/task-runner.js';
import { isObject, storedObject } from '../connection/stored-object.js';
import { type Marker, markers } from '../keys.js';

/*
 * A task as a BullMQ job. BullMQ's own fields are used where possible: `data` for the arguments,
 * `returnvalue` for the result, `failedReason` and `stacktrace` for the error. The rest is in
 * `opts.taskflow`, which is written once, and in fields of the job's hash that begin with `tf`.
 * They are removed together with the job.
 */

/** The properties of a task that BullMQ's options lack. They are written when the job is added. */
export interface TaskNotes {
  tags?: Readonly<Record<string, string>>;
  /** Name of the schedule that enqueued it. */
  schedule?: string;
  /** Unix milliseconds. */
  deadline?: number;
  /** How often it may run again after its process died. */
  interrupts?: number;
  /** Id of the task that this one is a rerun of. */
  rerunOf?: string;
  /** The idempotency key. BullMQ's deduplication id also holds the name of the task. */
  key?: string;
}

/** The options of a job, including those of this package. */
export interface TaskJobOptions extends JobsOptions {
  taskflow?: TaskNotes;
}

/** The prefix of the fields of this package in the hash of a job. */
export const ownFieldPrefix = 'tf';

/** The fields of this package in the hash of a job. */
export const jobFields = {
  /** Number of the last attempt that has ended, if BullMQ's own count differs. */
  attempts: 'tfn',
  /** Number of the last attempt before the current series. A retry by a user begins a series. */
  seriesStart: 'tfs',
  /** How often its process died. */
  interrupts: 'tfi',
  /** How the job ended, if that is more than BullMQ's `failed`, and when; see {@link markerAt}. */
  marker: 'tfm',
  /** Name and fingerprint of the last error. Lists show them with the message. */
  error: 'tfe',
  /** Why there is no result. */
  resultOmitted: 'tfo',
  /** Id of its last rerun. */
  rerunAs: 'tfr',
  /** How often workers without a handler for it have put it back since its last attempt. */
  returned: 'tfb',
  /** Mark of the call that wrote the last end. If that call is repeated, it finds its mark. */
  endMark: 'tft',
  /** How many of BullMQ's stalled checks are counted as interrupts. */
  stalls: 'tfc',
  /** Number of log lines. */
  logLines: 'tfl',
  /** The last call that added log lines. If that call is repeated, it finds itself here. */
  lastLines: 'tfk',
  /** When a user cancelled it while it ran, in Unix milliseconds, or empty. */
  cancelling: 'tfx',
  /** When it is due, if a retry or a command changed that, in Unix milliseconds. */
  runAt: 'tfw',
  /** The deadline of the current series, if that is not the first, in Unix milliseconds. */
  deadline: 'tfd',
} as const;

/** How the token in the lock of a running job begins that is to be cancelled. */
export const cancelledPrefix = 'cancelled:';

/** Returns the field of the record of an attempt. */
export function attemptField(number: number): string {
  return `tfa${number}`;
}

/** Creates marks that are unique across all calls and processes. */
export const endMarks = {
  process: randomBytes(6).toString('base64url'),
  made: 0,
  next(): string {
    this.made += 1;
    return `${this.process}${this.made.toString(36)}`;
  },
};

/** The stored record of an attempt that has ended. Its size is limited, because errors are. */
export interface AttemptRecord {
  /** Unix milliseconds. */
  start: number;
  end: number;
  status: (typeof attemptStatuses)[number];
  error?: StoredError;
}

/** The ends of an attempt. */
export const attemptStatuses = ['success', 'failed', 'interrupted', 'cancelled'] as const;

/**
 * The fields of an error that a list shows with its message. The message is BullMQ's
 * `failedReason`.
 */
export interface ErrorNote {
  name: string;
  fingerprint: string;
  /** Digest of the message. If it differs, a worker of another program has failed an attempt. */
  of?: string;
}

/** Builds the text of the note about an error. */
export function errorNote({ name, message, fingerprint }: StoredError): string {
  const note: ErrorNote = { name, fingerprint, of: digestOf(message) };
  return JSON.stringify(note);
}

/** Returns a digest of the beginning of a message. Lists may read no more of it. */
function digestOf(message: string): string {
  return createHash('sha256').update(message.slice(0, 1000)).digest('base64url').slice(0, 11);
}

/**
 * The BullMQ priority of a task of priority 0 in a queue that has priorities. BullMQ runs the
 * smaller number first and accepts 1 to 2,097,152.
 */
const middlePriority = 1_048_576;

/** Returns the BullMQ priority of a task in a queue that has priorities. */
function jobPriority(priority: number): number {
  return middlePriority - priority;
}

/** Returns the priority of a task from the BullMQ priority of its job, where 0 means none. */
export function taskPriority(priority: number | undefined): number {
  return priority === undefined || priority === 0 ? 0 : middlePriority - priority;
}

/** Returns the deduplication id of a task with an idempotency key. */
export function deduplicationId(task: string, key: string): string {
  return `${task.length}:${task}:${key}`;
}

/**
 * Whether a task becomes a delayed job. The `runAt` of a task without a delay may be a millisecond
 * after its `createdAt`. As a delayed job, it would run after later tasks.
 */
export function isDelayed({ runAt }: Pick<NewTask, 'runAt'>): boolean {
  return runAt > Date.now();
}

/**
 * Builds the job of a task. `prioritized`: its queue has priorities. This runs for each task that
 * is enqueued, so it copies nothing.
 */
export function toJob(task: NewTask, prioritized: boolean): JobJson {
  const { id, name, args, createdAt, runAt, attempts, idempotency, retryDelay } = task;
  const opts: TaskJobOptions = { attempts };
  const notes = notesOf(task);
  if (notes) opts.taskflow = notes;
  // After the clock is set back, `createdAt` may be in the future. BullMQ adds delays to
  // `timestamp`.
  const timestamp = Math.min(createdAt, Date.now());
  if (isDelayed(task)) opts.delay = runAt - timestamp;
  if (prioritized) opts.priority = jobPriority(task.priority);
  if (attempts > 1 && retryDelay)
    opts.backoff = {
      type: retryDelay.doubling ? 'exponential' : 'fixed',
      delay: retryDelay.milliseconds,
    };
  // The fields after `timestamp` are required by the type only.
  const job: JobJson = {
    id,
    name,
    data: args,
    opts,
    timestamp,
    progress: 0,
    attemptsMade: 0,
    attemptsStarted: 0,
    stalledCounter: 0,
    failedReason: '',
    returnvalue: '',
  };
  if (idempotency) {
    job.deduplicationId = deduplicationId(name, idempotency.key);
    opts.deduplication = {
      id: job.deduplicationId,
      ttl: Math.max(1, idempotency.until - timestamp),
    };
  }
  return job;
}

function notesOf({
  tags,
  schedule,
  deadlineAt,
  interrupts,
  idempotency,
  rerunOf,
}: NewTask): TaskNotes | undefined {
  const notes: TaskNotes = {};
  for (const _key in tags) {
    notes.tags = tags;
    break;
  }
  if (schedule !== undefined) notes.schedule = schedule;
  if (deadlineAt !== undefined) notes.deadline = deadlineAt;
  if (interrupts > 0) notes.interrupts = interrupts;
  if (idempotency) notes.key = idempotency.key;
  if (rerunOf !== undefined) notes.rerunOf = rerunOf;
  for (const _key in notes) return notes;
  return undefined;
}

/** A stored job: BullMQ's fields, and all fields of its hash, such as those of this package. */
export interface TaskJob {
  readonly json: JobJson;
  readonly fields: Readonly<Record<string, string>>;
}

/**
 * Returns the notes of a job. A job of another program has none, or any value in their place. This
 * runs for each task, so it copies nothing.
 */
export function notesOfJob({ json }: TaskJob): TaskNotes {
  const notes: unknown = (json.opts as TaskJobOptions | undefined)?.taskflow;
  return isObject(notes) && areNotes(notes) ? notes : noNotes;
}

const noNotes: TaskNotes = {};

/** Whether each note has the type that readers expect. */
function areNotes({
  tags,
  schedule,
  rerunOf,
  deadline,
  interrupts,
}: Readonly<Record<string, unknown>>): boolean {
  return (
    [schedule, rerunOf].every((text) => text === undefined || typeof text === 'string') &&
    [deadline, interrupts].every((n) => n === undefined || typeof n === 'number') &&
    (tags === undefined ||
      (isObject(tags) && Object.values(tags).every((tag) => typeof tag === 'string')))
  );
}

/**
 * Returns the note about the last error of a job. Returns undefined if the job has no note, or if
 * the note is about an earlier error.
 */
export function errorNoteOf({ json, fields }: TaskJob): Partial<ErrorNote> | undefined {
  const { name, fingerprint, of } = storedObject(fields[jobFields.error] || undefined);
  if (typeof name !== 'string' || (of !== undefined && of !== digestOf(json.failedReason)))
    return undefined;
  return { name, ...(typeof fingerprint === 'string' && { fingerprint }) };
}

/** Whether a worker of another program has failed an attempt after the last one of this engine. */
function hasForeignError(job: TaskJob): boolean {
  return (
    Boolean(job.fields[jobFields.error]) &&
    job.json.failedReason !== '' &&
    errorNoteOf(job) === undefined
  );
}

/** Returns the number of the last attempt that has ended, or 0 before the first. */
export function attemptsOf(job: TaskJob): number {
  const { json, fields } = job;
  const stored = fields[jobFields.attempts];
  const counted = json.attemptsMade ?? 0;
  if (stored === undefined) return counted;
  if (!hasForeignError(job)) return count(stored);
  // BullMQ's count is the same until a user retries the task or a process is interrupted.
  const isSame =
    count(fields[jobFields.seriesStart]) === 0 && count(fields[jobFields.interrupts]) === 0;
  return Math.max(count(stored) + 1, isSame ? counted : 0);
}

/**
 * Returns the time after which a job is neither started nor retried, in Unix milliseconds. Returns
 * undefined if it has no deadline.
 */
export function deadlineOf(job: TaskJob): number | undefined {
  return count(job.fields[jobFields.deadline]) || notesOfJob(job).deadline;
}

/**
 * Returns the stored marker of an end. `at`: Unix milliseconds. The time makes the marker void once
 * the job ends again, also if another program has retried it, which knows nothing of markers.
 */
export function markerAt(marker: Marker, at: number): string {
  return `${marker}:${at}`;
}

/** Returns how a failed job ended, if that was not a failure. */
export function markerOf({ json, fields }: TaskJob): Marker | undefined {
  const { finishedOn } = json;
  const marker = fields[jobFields.marker];
  if (!marker || finishedOn === undefined) return undefined;
  return markers.find((each) => marker === markerAt(each, finishedOn));
}

/** Parses a count that is stored in a field. */
export function count(text: string | undefined): number {
  if (text === undefined) return 0;
  const n = Number(text);
  return Number.isSafeInteger(n) && n > 0 ? n : 0;
}
