import type { NewTask } from '../../../tasks/new-task.js';
import { isEnded } from '../../../tasks/states.js';
import type { TaskStatus, TaskSummary } from '../../../tasks/types.js';
import { optionalTime } from '../../tables/schema/rows.js';
import { isObject } from '../connection/stored-object.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import { taskIdOf } from './job-ids.js';
import {
  attemptsOf,
  count,
  errorNoteOf,
  jobFields,
  markerOf,
  notesOfJob,
  type TaskJob,
  taskPriority,
  toJob,
} from './task-job.js';

/** BullMQ's states of a job. */
const jobStates = [
  'waiting',
  'prioritized',
  'delayed',
  'waiting-children',
  'active',
  'completed',
  'failed',
] as const;
export type JobState = (typeof jobStates)[number];

export function isJobState(state: string): state is JobState {
  return (jobStates as readonly string[]).includes(state);
}

/** Returns the state of a task from the BullMQ state of its job. */
export function statusOf(job: TaskJob, state: JobState): TaskStatus {
  if (state === 'active') return 'running';
  if (state === 'completed') return 'success';
  return state === 'failed' ? (markerOf(job) ?? 'failed') : 'pending';
}

/**
 * Reads the progress of a job. This package stores a percentage, with a text if there is one. Other
 * programs may store anything.
 */
function progressOf(progress: unknown): Pick<ShownJob, 'progress' | 'progressText'> {
  const { percent, text }: { percent?: unknown; text?: unknown } = isObject(progress)
    ? progress
    : { percent: progress };
  return {
    // BullMQ sets the progress of a new job to 0.
    progress: typeof percent === 'number' && percent > 0 ? Math.min(1, percent / 100) : null,
    progressText: typeof text === 'string' ? text.slice(0, 256) : null,
  };
}

/** Returns the last error of a job, or null if a task in this state is shown without an error. */
function errorOf(
  job: TaskJob,
  status: TaskStatus,
): { name: string; message: string; fingerprint: string } | null {
  if (status === 'success' || status === 'running' || status === 'cancelled') return null;
  const message = job.json.failedReason;
  // A failed job without a note was failed by another program.
  if (!message || (job.fields[jobFields.error] === '' && status !== 'failed')) return null;
  const { name = 'Error', fingerprint = '' } = errorNoteOf(job) ?? {};
  return { name, message, fingerprint };
}

/** The latest time of a `Date`, in Unix milliseconds. */
const latest = 8_640_000_000_000_000;

/** Limits a time to what can be shown and stored. Other programs may write any number, or none. */
export function time(milliseconds: unknown): number {
  const at = Math.floor(Number(milliseconds));
  return Number.isNaN(at) ? 0 : Math.max(0, Math.min(latest, at));
}

/** Returns how many attempts an option allows. Any value but an integer counts as 1. */
export function attemptLimit(attempts: unknown): number {
  return typeof attempts === 'number' && Number.isSafeInteger(attempts) ? attempts : 1;
}

/**
 * The fields of a job that lists show, except its id and the time of its creation. Times are Unix
 * milliseconds.
 */
export interface ShownJob {
  readonly name: string;
  /** The label of its queue, as users know it. */
  readonly label: string;
  readonly status: TaskStatus;
  /** BullMQ's name of its state, if that is shown. */
  readonly engineState?: string;
  readonly priority: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly schedule: string | null;
  readonly runAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly error: ReturnType<typeof errorOf>;
  readonly isCancelling: boolean;
  readonly progress: number | null;
  readonly progressText: string | null;
}

/**
 * Reads what lists show of a job. `dueAt`: when its delay ends according to BullMQ's delayed set,
 * in Unix milliseconds.
 */
export function shownJobOf(
  job: TaskJob,
  label: string,
  status: TaskStatus,
  dueAt?: number,
): ShownJob {
  const { json, fields } = job;
  const { tags = {}, schedule = null } = notesOfJob(job);
  const isRunning = status === 'running';
  const attempt = attemptsOf(job) + (isRunning ? 1 : 0);
  // The delay of a returned job only gives another process time to fetch it. The task was already
  // due.
  const isReturned = count(fields[jobFields.returned]) > 0;
  const series = count(fields[jobFields.seriesStart]);
  const again = count(fields[jobFields.interrupts]);
  return {
    name: json.name,
    label,
    status,
    priority: taskPriority(json.priority),
    tags,
    schedule,
    runAt: time(
      (isReturned ? undefined : dueAt) ??
        (count(fields[jobFields.runAt]) || json.timestamp + (json.opts?.delay ?? 0)),
    ),
    startedAt: attempt > 0 && json.processedOn !== undefined ? time(json.processedOn) : null,
    endedAt: isEnded(status) ? time(json.finishedOn ?? Date.now()) : null,
    attempt,
    maxAttempts: Math.max(1, series + again + attemptLimit(json.opts?.attempts)),
    error: errorOf(job, status),
    isCancelling: isRunning && Boolean(fields[jobFields.cancelling]),
    ...progressOf(json.progress),
  };
}

/** Returns a job as lists show it. `createdAt`: Unix milliseconds. */
export function toSummary(shown: ShownJob, id: string, createdAt: number): TaskSummary {
  const { name, label, status, priority, tags, schedule, attempt, maxAttempts, progress } = shown;
  const { runAt, startedAt, endedAt, error, progressText } = shown;
  const state = shown.engineState ?? (shown.isCancelling ? 'cancelling' : undefined);
  return {
    id,
    name,
    status,
    queue: label,
    priority,
    tags,
    attempt,
    maxAttempts,
    progress,
    ...(state !== undefined && { engineState: state }),
    source: schedule === null ? 'manual' : 'scheduled',
    createdAt: isoTime(createdAt),
    runAt: isoTime(runAt),
    startedAt: optionalTime(startedAt),
    endedAt: optionalTime(endedAt),
    duration:
      endedAt === null || startedAt === null ? null : Math.max(0, endedAt - startedAt) / 1000,
    ...(progressText !== null && { progressText }),
    error: error && { name: error.name, message: error.message },
    fingerprint: error?.fingerprint || null,
  };
}

/** Returns a job as lists show it. `dueAt`: see {@link shownJobOf}. */
export function summaryOf(
  job: TaskJob,
  { queue, label }: CatalogEntry,
  status: TaskStatus,
  dueAt?: number,
): TaskSummary {
  return toSummary(
    shownJobOf(job, label, status, dueAt),
    taskIdOf(queue, job.json.id),
    job.json.timestamp,
  );
}

/** Returns the progress as BullMQ stores it: a percentage, or an object if there is a text. */
export function jobProgress({
  value,
  text,
}: {
  value: number;
  text: string | null;
}): number | { percent: number; text: string } {
  const percent = Math.round(value * 10_000) / 100;
  return text === null ? percent : { percent, text };
}

/** Returns a job as lists show it after some of its fields were written. */
export function summaryAfter(
  { json, fields }: TaskJob,
  written: Readonly<Record<string, string | number>>,
  queue: CatalogEntry,
  status: TaskStatus,
): TaskSummary {
  const after = Object.entries(written).map(([name, value]) => [name, String(value)]);
  const { processedOn: _fetched, ...rest } = json;
  // If a job ends before an attempt begins, the time when it was fetched is dropped.
  const kept = 'processedOn' in written ? rest : json;
  const { failedReason } = written;
  const failed = typeof failedReason === 'string' ? { ...kept, failedReason } : kept;
  return summaryOf(
    { json: failed, fields: { ...fields, ...Object.fromEntries(after) } },
    queue,
    status,
  );
}

/** Returns a task that was just enqueued, as lists show it. */
export function pendingSummary(task: NewTask): TaskSummary {
  return summaryOf(
    { json: toJob(task, true), fields: {} },
    { queue: task.queue, label: task.queue },
    'pending',
  );
}

/** Formats a time in Unix milliseconds as ISO 8601. */
export function isoTime(milliseconds: number): string {
  return new Date(time(milliseconds)).toISOString();
}
