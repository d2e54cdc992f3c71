import type { NewTask } from '../../../tasks/engine.js';
import type { TaskStatus, TaskSummary } from '../../../tasks/types.js';
import { taskIdOf } from './job-ids.js';
import { attemptsOf, count, errorNoteOf, jobFields, markerOf, notesOfJob, type TaskJob, taskPriority, toJob } from './task-job.js';

/** BullMQ's states of a job. */
export const jobStates = ['waiting', 'prioritized', 'delayed', 'waiting-children', 'active', 'completed', 'failed'] as const;
export type JobState = (typeof jobStates)[number];

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
export function progressOf(progress: unknown): Pick<TaskSummary, 'progress' | 'progressText'> {
  const { percent, text } =
    typeof progress === 'object' && progress !== null ? (progress as { percent?: unknown; text?: unknown }) : { percent: progress };
  // BullMQ sets the progress of a new job to 0.
  const value = typeof percent === 'number' && percent > 0 ? Math.min(1, percent / 100) : null;
  return { progress: value, ...(typeof text === 'string' && { progressText: text.slice(0, 256) }) };
}

/** Returns the last error of a job, or null if a task in this state is shown without an error. */
function errorOf(job: TaskJob, status: TaskStatus): { name: string; message: string; fingerprint: string } | null {
  if (status === 'success' || status === 'running' || status === 'cancelled') return null;
  const message = job.json.failedReason;
  if (!message || job.fields[jobFields.error] === '') return null;
  const { name = 'Error', fingerprint = '' } = errorNoteOf(job) ?? {};
  return { name, message, fingerprint };
}

/** The attempts, times and error of a job. Times are Unix milliseconds. */
export interface JobFacts {
  runAt: number;
  startedAt: number | null;
  endedAt: number | null;
  attempt: number;
  maxAttempts: number;
  error: ReturnType<typeof errorOf>;
  isCancelling: boolean;
}

/**
 * Reads the attempts of a job. `dueAt`: when its delay ends according to BullMQ's delayed set, in
 * Unix milliseconds.
 */
export function factsOf(job: TaskJob, status: TaskStatus, dueAt?: number): JobFacts {
  const { json, fields } = job;
  const ended = attemptsOf(job);
  const isRunning = status === 'running';
  const attempt = isRunning ? ended + 1 : ended;
  const isOver = !isRunning && status !== 'pending';
  // The delay of a returned job only gives another process time to fetch it. The task was already
  // due.
  const isReturned = count(fields[jobFields.returned]) > 0;
  const series = count(fields[jobFields.seriesStart]);
  const again = count(fields[jobFields.interrupts]);
  return {
    runAt: time((isReturned ? undefined : dueAt) ?? (count(fields[jobFields.runAt]) || json.timestamp + (json.opts?.delay ?? 0))),
    startedAt: attempt > 0 && json.processedOn !== undefined ? time(json.processedOn) : null,
    endedAt: isOver ? time(json.finishedOn ?? Date.now()) : null,
    attempt,
    maxAttempts: Math.max(1, series + again + attemptLimit(json.opts?.attempts)),
    error: errorOf(job, status),
    isCancelling: isRunning && Boolean(fields[jobFields.cancelling]),
  };
}

/** The latest time of a `Date`, in Unix milliseconds. */
const latest = 8_640_000_000_000_000;

/** Limits a time to what can be shown and stored. Other programs may write any number, or none. */
export function time(milliseconds: unknown): number {
  const at = Math.floor(Number(milliseconds));
  return Number.isNaN(at) ? 0 : Math.max(0, Math.min(latest, at));
}

/**
 * Returns how many attempts an option allows. Other programs may store any value, so anything but
 * an integer counts as 1.
 */
export function attemptLimit(attempts: unknown): number {
  return typeof attempts === 'number' && Number.isSafeInteger(attempts) ? attempts : 1;
}

/** A BullMQ queue, and the label under which users know it. */
export interface LabelledQueue {
  readonly queue: string;
  readonly label: string;
}

/**
 * Returns a job as lists show it. `dueAt`: when its delay ends according to BullMQ's delayed set,
 * in Unix milliseconds.
 */
export function summaryOf(job: TaskJob, { queue, label }: LabelledQueue, status: TaskStatus, dueAt?: number): TaskSummary {
  const { json } = job;
  const { tags = {}, schedule } = notesOfJob(job);
  const { runAt, startedAt, endedAt, attempt, maxAttempts, error, isCancelling } = factsOf(job, status, dueAt);
  return {
    ...{ id: taskIdOf(queue, json.id), name: json.name, status, queue: label, priority: taskPriority(json.priority), tags },
    ...(isCancelling && { engineState: 'cancelling' }),
    source: schedule === undefined ? 'manual' : 'scheduled',
    createdAt: isoTime(json.timestamp),
    runAt: isoTime(runAt),
    startedAt: startedAt === null ? null : isoTime(startedAt),
    endedAt: endedAt === null ? null : isoTime(endedAt),
    duration: endedAt === null || startedAt === null ? null : Math.max(0, endedAt - startedAt) / 1000,
    ...{ attempt, maxAttempts },
    ...progressOf(json.progress),
    error: error && { name: error.name, message: error.message },
    fingerprint: error?.fingerprint || null,
  };
}

/**
 * Returns the progress of a task as it is stored in BullMQ: a percentage, or an object if there is
 * a text.
 */
export function jobProgress({ value, text }: { value: number; text: string | null }): number | { percent: number; text: string } {
  const percent = Math.round(value * 10_000) / 100;
  return text === null ? percent : { percent, text };
}

/** Returns a job as lists show it after some of its fields were written. */
export function summaryAfter(
  { json, fields }: TaskJob,
  written: Readonly<Record<string, string | number>>,
  queue: LabelledQueue,
  status: TaskStatus,
): TaskSummary {
  const after = Object.entries(written).map(([name, value]) => [name, String(value)]);
  const { processedOn, ...rest } = json;
  // If a job ends before an attempt begins, the time when it was fetched is dropped.
  const kept = processedOn === undefined || 'processedOn' in written ? rest : json;
  const { failedReason } = written;
  const failed = typeof failedReason === 'string' ? { ...kept, failedReason } : kept;
  return summaryOf({ json: failed, fields: { ...fields, ...Object.fromEntries(after) } }, queue, status);
}

/** Returns a task that was just enqueued, as lists show it. */
export function pendingSummary(task: NewTask): TaskSummary {
  return summaryOf({ json: toJob(task, true), fields: {} }, { queue: task.queue, label: task.queue }, 'pending');
}

/** Formats a time in Unix milliseconds as ISO 8601. */
export function isoTime(milliseconds: number): string {
  return new Date(time(milliseconds)).toISOString();
}
