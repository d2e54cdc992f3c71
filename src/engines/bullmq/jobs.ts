import type { JobJson } from 'bullmq';
import type { StoredError } from '../../tasks/engine.js';
import { fingerprint } from '../../tasks/fingerprint.js';
import type { TaskStatus, TaskSummary } from '../../tasks/types.js';
import type { MirroredTask } from '../embedded/mirror.js';
import { idOfJob, keyOf } from './job-ids.js';

/** BullMQ's states of a job, each with ours. */
export const statusOfState = {
  waiting: 'pending',
  prioritized: 'pending',
  delayed: 'pending',
  'waiting-children': 'pending',
  active: 'running',
  completed: 'success',
  failed: 'failed',
} as const satisfies Record<string, TaskStatus>;

/** BullMQ's word for where a job stands. */
export type JobState = keyof typeof statusOfState;

/** Whether a text is BullMQ's word for where a job stands. */
export function isJobState(text: string | undefined): text is JobState {
  return text !== undefined && Object.hasOwn(statusOfState, text);
}

/** States of jobs that will go on. */
export const openStates = ['active', 'waiting', 'prioritized', 'delayed', 'waiting-children'] as const satisfies readonly JobState[];
/** States of jobs that have ended. */
export const endedStates = ['failed', 'completed'] as const satisfies readonly JobState[];

/** Longest text that is kept of what a job says of its progress. */
const mostProgressText = 200;
/** Longest message and stack of an error that are kept. */
const mostError = { message: 10_000, stack: 20_000 };

/** A job in one of BullMQ's states, as it is shown here. `dueAt`: until when it is delayed, in Unix milliseconds. */
export function toMirrored(queue: string, job: JobJson, state: JobState, dueAt?: number): MirroredTask {
  const key = keyOf(queue, job.id);
  const status = statusOfState[state];
  const { timestamp, processedOn, finishedOn, attemptsStarted = 0, attemptsMade = 0, repeatJobKey } = job;
  const delayedUntil = state === 'delayed' ? (dueAt ?? Math.max(timestamp, processedOn ?? 0) + (job.delay ?? 0)) : undefined;
  const attempt = Math.max(attemptsStarted, attemptsMade);
  return {
    key,
    id: idOfJob(key, timestamp),
    engineState: state === 'waiting' && (job.priority ?? 0) > 0 ? 'prioritized' : state,
    name: job.name,
    queue,
    // There the smaller number goes first, and none goes before all.
    priority: -(job.priority ?? 0) || 0,
    source: repeatJobKey === undefined ? 'manual' : 'scheduled',
    schedule: repeatJobKey === undefined ? null : keyOf(queue, repeatJobKey),
    status,
    runAt: delayedUntil ?? timestamp,
    // One that waits for its children is not late, however long.
    readyAt: state === 'waiting-children' ? Number.MAX_SAFE_INTEGER : (delayedUntil ?? null),
    startedAt: processedOn ?? null,
    endedAt: status === 'success' || status === 'failed' ? (finishedOn ?? Date.now()) : null,
    attempt,
    maxAttempts: Math.max(1, attempt, job.opts?.attempts ?? 1),
    ...progressOf(job.progress),
    error: errorOf(job, status),
  };
}

/** The state that a job's own times tell, where no event has told it. */
export function stateByTimes({ finishedOn, failedReason, processedOn }: JobJson): JobState {
  if (finishedOn !== undefined) return failedReason ? 'failed' : 'completed';
  return processedOn === undefined ? 'waiting' : 'active';
}

/** BullMQ counts to a hundred; whatever else a job gives is shown as text. */
function progressOf(progress: unknown): { progress: number | null; progressText: string | null } {
  if (typeof progress === 'number')
    return { progress: progress === 0 ? null : Math.max(0, Math.min(1, progress / 100)), progressText: null };
  if (progress === undefined || progress === null || progress === '' || progress === '0') return { progress: null, progressText: null };
  const text = typeof progress === 'string' ? progress : JSON.stringify(progress);
  return { progress: null, progressText: text.slice(0, mostProgressText) };
}

/** The error of the last attempt: while a job runs again it has none. */
function errorOf(job: JobJson, status: TaskStatus): StoredError | null {
  if (!job.failedReason || status === 'running' || status === 'success') return null;
  const stack = stacksOf(job.stacktrace).at(-1) ?? null;
  return storedError(job.name, job.failedReason, stack);
}

/** An error as BullMQ keeps it: a message, and a stack whose first line names the class. */
export function storedError(jobName: string, message: string, stack: string | null): StoredError {
  const name = /^([A-Za-z_$][\w$]*)(?::|$)/.exec(stack?.split('\n', 1)[0] ?? '')?.[1] ?? 'Error';
  const error = { name, message: message.slice(0, mostError.message), stack: stack?.slice(0, mostError.stack) ?? null };
  return { ...error, fingerprint: fingerprint(jobName, error) };
}

/** The stacks of the failed attempts, the first one first. Of text that was cut, the first lines of the first stack. */
export function stacksOf(stacktrace: string | undefined): string[] {
  if (!stacktrace) return [];
  try {
    const stacks: unknown = JSON.parse(stacktrace);
    return Array.isArray(stacks) ? stacks.filter((stack): stack is string => typeof stack === 'string') : [];
  } catch {
    return stacktrace.startsWith('["') ? [stacktrace.slice(2).replaceAll('\\n', '\n')] : [];
  }
}

/** What is known of a job whose hash is gone. */
export function fromSummary(task: TaskSummary): MirroredTask {
  const time = (text: string | null): number | null => (text === null ? null : Date.parse(text));
  const { name, queue, priority, source, status, attempt, maxAttempts, progress } = task;
  const createdAt = Date.parse(task.createdAt);
  return {
    ...{ key: task.id, id: idOfJob(task.id, createdAt), engineState: task.engineState ?? '' },
    ...{ name, queue, priority, source, schedule: null, status, attempt, maxAttempts, progress, progressText: task.progressText ?? null },
    ...{ runAt: Date.parse(task.runAt), readyAt: null, startedAt: time(task.startedAt), endedAt: time(task.endedAt), error: null },
  };
}

/** A job that was gone before it could be read. `at`: when it was heard of first, in Unix milliseconds. */
export function blankTask(queue: string, key: string, name: string, at: number): MirroredTask {
  return {
    ...{ key, id: idOfJob(key, at), engineState: 'waiting', name, queue, priority: 0, source: 'manual', schedule: null, status: 'pending' },
    ...{ runAt: at, readyAt: null, startedAt: null, endedAt: null, attempt: 0, maxAttempts: 1, progress: null, progressText: null },
    error: null,
  };
}

/** A job that ended and was removed in the same moment. `at`: when its end was heard of, in Unix milliseconds. */
export function endedTask(
  before: MirroredTask,
  { state, at, failedReason = '' }: { state: 'completed' | 'failed'; at: number; failedReason?: string | undefined },
): MirroredTask {
  return {
    ...before,
    engineState: state,
    status: statusOfState[state],
    readyAt: null,
    startedAt: before.startedAt ?? at,
    endedAt: at,
    attempt: Math.max(1, before.attempt),
    ...progressOf(undefined),
    error: state === 'failed' ? storedError(before.name, failedReason, null) : null,
  };
}
