import { createHash, randomBytes } from 'node:crypto';
import type { JobJson, JobsOptions } from 'bullmq';
import type { NewTask, StoredError } from '../../../tasks/engine.js';
import type { Marker } from '../keys.js';

/*
 * A task as a BullMQ job. Whatever BullMQ has a field for is in that field: the arguments in `data`, the result in
 * `returnvalue`, the error in `failedReason` and `stacktrace`. What it has none for is in `opts.taskflow`, written once, and in
 * fields of the job's hash that begin with `tf`, which end with the job.
 */

/** What a task has and BullMQ's options have not. Written when the job is added. */
export interface TaskNotes {
  tags?: Readonly<Record<string, string>>;
  /** Name of the schedule that made it. */
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

/** Options of a job, with those of this package. */
export interface TaskJobOptions extends JobsOptions {
  taskflow?: TaskNotes;
}

/** How the fields of this package begin in the hash of a job. */
export const ownFieldPrefix = 'tf';

/** Fields of this package in the hash of a job. */
export const jobFields = {
  /** Number of the last attempt that has ended, unless that is BullMQ's own count. */
  attempts: 'tfn',
  /** Number of the last attempt before the present series, which a retry by a user begins. */
  seriesStart: 'tfs',
  /** How often its process died. */
  interrupts: 'tfi',
  /** How it ended, if BullMQ's `failed` does not say it. */
  marker: 'tfm',
  /** Name, fingerprint and code of the last error: what a list shows besides the message. */
  error: 'tfe',
  /** Why there is no result. */
  resultOmitted: 'tfo',
  /** Id of the last rerun of it. */
  rerunAs: 'tfr',
  /** How often it was put back because no handler was here, since its last attempt. */
  returned: 'tfb',
  /** Mark of the call that wrote the last end of an attempt, so that its repetition notices that it was executed. */
  endMark: 'tft',
  /** BullMQ's count of stalled checks that are accounted for as interrupts. */
  stalls: 'tfc',
  /** Log lines written so far. */
  logLines: 'tfl',
  /** Since when it is to be cancelled while it runs; Unix milliseconds, or empty. */
  cancelling: 'tfx',
  /** When it came due, if a retry or a command changed that; Unix milliseconds. */
  runAt: 'tfw',
  /** The deadline of the present series, if that is not the first; Unix milliseconds. */
  deadline: 'tfd',
} as const;

/** Field of the record of one attempt. */
export function attemptField(number: number): string {
  return `tfa${number}`;
}

/** Makes marks that no other call of any process has. */
export const endMarks = {
  process: randomBytes(6).toString('base64url'),
  made: 0,
  next(): string {
    this.made += 1;
    return `${this.process}${this.made.toString(36)}`;
  },
};

/** One attempt that has ended, as it is stored. Bounded, since errors are. */
export interface AttemptRecord {
  /** Unix milliseconds. */
  start: number;
  end: number;
  status: 'success' | 'failed' | 'interrupted' | 'cancelled';
  error?: StoredError;
}

/** What of an error a list needs besides its message, which is BullMQ's `failedReason`. */
export interface ErrorNote {
  name: string;
  fingerprint: string;
  /** Digest of the message. Another message means that a worker of another program has failed an attempt since. */
  of?: string;
}

/** Builds the text of the note about an error. */
export function errorNote({ name, message, fingerprint }: StoredError): string {
  const note: ErrorNote = { name, fingerprint, of: digestOf(message) };
  return JSON.stringify(note);
}

/** Stands for a message, of which lists may read only the beginning. */
function digestOf(message: string): string {
  return createHash('sha256').update(message.slice(0, 1000)).digest('base64url').slice(0, 11);
}

/** A task of priority 0 in a queue that has priorities. BullMQ runs the smaller number first and takes 1 to 2,097,152. */
const middlePriority = 1_048_576;

/** The BullMQ priority of a task in a queue that has priorities. */
export function jobPriority(priority: number): number {
  return middlePriority - priority;
}

/** The priority of a task whose job has a BullMQ priority; 0 stands for none. */
export function taskPriority(priority: number | undefined): number {
  return priority === undefined || priority === 0 ? 0 : middlePriority - priority;
}

/** The deduplication id of a task with an idempotency key. */
export function deduplicationId(task: string, key: string): string {
  return `${task.length}:${task}:${key}`;
}

/**
 * Whether a task is to wait for its time. A task without a delay may have an id of the millisecond before its time: as a delayed
 * job it would run behind later ones.
 */
export function isDelayed({ runAt }: Pick<NewTask, 'runAt'>): boolean {
  return runAt > Date.now();
}

/** Builds the job of a task. `prioritized`: its queue has priorities. Each enqueue does this, so nothing is copied. */
export function toJob(task: NewTask, prioritized: boolean): JobJson {
  const { id, name, args, createdAt, runAt, attempts, idempotency, retryDelay } = task;
  const opts: TaskJobOptions = { attempts };
  const notes = notesOf(task);
  if (notes) opts.taskflow = notes;
  if (isDelayed(task)) opts.delay = runAt - createdAt;
  if (prioritized) opts.priority = jobPriority(task.priority);
  if (attempts > 1 && retryDelay) opts.backoff = { type: retryDelay.doubling ? 'exponential' : 'fixed', delay: retryDelay.milliseconds };
  // Past `timestamp` are fields that the type requires. A new job has none of them.
  const job: JobJson = {
    id,
    name,
    data: args,
    opts,
    timestamp: createdAt,
    progress: 0,
    attemptsMade: 0,
    attemptsStarted: 0,
    stalledCounter: 0,
    failedReason: '',
    returnvalue: '',
  };
  if (idempotency) {
    job.deduplicationId = deduplicationId(name, idempotency.key);
    opts.deduplication = { id: job.deduplicationId, ttl: Math.max(1, idempotency.until - createdAt) };
  }
  return job;
}

function notesOf({ tags, schedule, deadlineAt, interrupts, idempotency, rerunOf }: NewTask): TaskNotes | undefined {
  const notes: TaskNotes = {};
  let isEmpty = true;
  const note = <K extends keyof TaskNotes>(key: K, value: TaskNotes[K]): void => {
    if (value === undefined) return;
    notes[key] = value;
    isEmpty = false;
  };
  for (const _key in tags) {
    note('tags', tags);
    break;
  }
  note('schedule', schedule);
  note('deadline', deadlineAt);
  if (interrupts > 0) note('interrupts', interrupts);
  note('key', idempotency?.key);
  note('rerunOf', rerunOf);
  return isEmpty ? undefined : notes;
}

/** A job of this engine as it is stored: what BullMQ keeps of it, and the fields of this package. */
export interface TaskJob {
  readonly json: JobJson;
  readonly fields: Readonly<Record<string, string>>;
}

/** Notes of a job; none for one that another program added. */
export function notesOfJob({ json }: TaskJob): TaskNotes {
  return (json.opts as TaskJobOptions | undefined)?.taskflow ?? {};
}

/** The note about the last error of a job; none if there is none, or if it is about an error before the last one. */
export function errorNoteOf({ json, fields }: TaskJob): Partial<ErrorNote> | undefined {
  const text = fields[jobFields.error];
  if (!text) return undefined;
  try {
    const { name, fingerprint, of } = JSON.parse(text) as Partial<ErrorNote>;
    if (of !== undefined && of !== digestOf(json.failedReason)) return undefined;
    return { ...(typeof name === 'string' && { name }), ...(typeof fingerprint === 'string' && { fingerprint }) };
  } catch {
    return undefined;
  }
}

/** Whether the last failed attempt of a job was made by a worker of another program, after one that was made here. */
function hasForeignError(job: TaskJob): boolean {
  return Boolean(job.fields[jobFields.error]) && job.json.failedReason !== '' && errorNoteOf(job) === undefined;
}

/** Number of the last attempt that has ended; 0 before the first. BullMQ's count is right unless something else is stored. */
export function attemptsOf(job: TaskJob): number {
  const { json, fields } = job;
  const stored = fields[jobFields.attempts];
  const counted = json.attemptsMade ?? 0;
  if (stored === undefined) return counted;
  if (!hasForeignError(job)) return count(stored);
  // BullMQ's count is the same as that here until a retry by a user or an interrupt.
  const isSame = count(fields[jobFields.seriesStart]) === 0 && count(fields[jobFields.interrupts]) === 0;
  return Math.max(count(stored) + 1, isSame ? counted : 0);
}

/** Unix milliseconds after which a job is neither started nor tried again; none without a deadline. */
export function deadlineOf(job: TaskJob): number | undefined {
  return count(job.fields[jobFields.deadline]) || notesOfJob(job).deadline;
}

/** How a failed job ended, if not by a failure. */
export function markerOf({ fields }: TaskJob): Marker | undefined {
  const marker = fields[jobFields.marker];
  return marker === 'cancelled' || marker === 'interrupted' ? marker : undefined;
}

/** A count that is stored in a field. */
export function count(text: string | undefined): number {
  if (text === undefined) return 0;
  const n = Number(text);
  return Number.isSafeInteger(n) && n > 0 ? n : 0;
}
