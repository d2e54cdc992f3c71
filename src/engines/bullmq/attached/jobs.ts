import { fingerprint } from '../../../tasks/fingerprint.js';
import type { StoredError } from '../../../tasks/task-runner.js';
import type { TaskStatus, TaskSummary } from '../../../tasks/types.js';
import { idOfJob, keyOf } from '../jobs/job-ids.js';
import { stacksOf } from '../jobs/job-stacks.js';
import { attemptLimit, type JobState, time } from '../jobs/job-view.js';
import { addHint, type JobHint } from '../read/job-hint.js';
import type { JobNote } from '../read/source.js';
import type { WindowTask } from '../read/window-rows.js';
import type { JobRules, PresentJob } from '../read/window-task.js';

/** The task state for each of BullMQ's job states. */
const statusOfState = {
  waiting: 'pending',
  prioritized: 'pending',
  delayed: 'pending',
  'waiting-children': 'pending',
  active: 'running',
  completed: 'success',
  failed: 'failed',
} as const satisfies Record<JobState, TaskStatus>;

/** Maximum characters that are kept of a progress text. */
const maxProgressText = 200;
/** Maximum characters that are kept of an error's message and stack. */
const maxError = { message: 10_000, stack: 20_000 };
/** Maximum number of hints that are kept about jobs that were removed before they could be read. */
const maxUnread = 10_000;

/** Converts the jobs of attached queues to rows of the window. */
export class AttachedJobs implements JobRules {
  readonly hasOwnIds = false;
  readonly keepsEnded = true;
  /**
   * Hints about jobs that were removed before they could be read, and whose outcome is not known
   * yet.
   */
  readonly #unread = new Map<string, JobHint>();

  shown({ queue, jobId, job: { json }, state, dueAt }: PresentJob): ReturnType<JobRules['shown']> {
    // An existing job is shown as it is, and hints about it are out of date.
    this.#unread.delete(keyOf(queue, jobId));
    const status = statusOfState[state];
    const {
      timestamp,
      processedOn,
      finishedOn,
      attemptsStarted = 0,
      attemptsMade = 0,
      repeatJobKey,
    } = json;
    const delayedUntil =
      state === 'delayed'
        ? (dueAt ?? Math.max(timestamp, processedOn ?? 0) + (json.delay ?? 0))
        : undefined;
    const attempt = Math.max(attemptsStarted, attemptsMade);
    const error = errorOf(json, status);
    return {
      name: json.name,
      label: queue,
      engineState: state === 'waiting' && (json.priority ?? 0) > 0 ? 'prioritized' : state,
      // In BullMQ, a smaller number runs first, and a job without a priority runs before all
      // others.
      priority: -(json.priority ?? 0) || 0,
      schedule: repeatJobKey === undefined ? null : keyOf(queue, repeatJobKey),
      runAt: time(delayedUntil ?? timestamp),
      startedAt: processedOn === undefined ? null : time(processedOn),
      endedAt: status === 'success' || status === 'failed' ? time(finishedOn ?? Date.now()) : null,
      attempt,
      maxAttempts: Math.max(1, attempt, attemptLimit(json.opts?.attempts)),
      error,
      isCancelling: false,
      stack: error?.stack ?? null,
      ...{ status, tags: {} },
      ...progressOf(json.progress),
    };
  }

  /**
   * Builds the row of a job that was removed before it could be read, from its notes and from what
   * was known of it. Returns `same` if the notes do not say how the job ended.
   */
  gone(
    { queue, jobId, state, hint = {} }: JobNote,
    row: TaskSummary | undefined,
  ): WindowTask | 'same' {
    const key = keyOf(queue, jobId);
    const hints = addHint(this.#unread.get(key), hint);
    this.#unread.delete(key);
    const { endedAt } = hints;
    if ((state !== 'completed' && state !== 'failed') || endedAt === undefined) {
      this.#remember(key, hints);
      return 'same';
    }
    // If a job was added since, the row is of an earlier job with the same id.
    const before = hints.isNew ? undefined : row;
    const name = before?.name ?? hints.name ?? 'unknown';
    const createdAt = before
      ? Date.parse(before.createdAt)
      : (hints.createdAt ?? hints.startedAt ?? endedAt);
    const attempt = Math.max(1, (before?.attempt ?? 0) + (hints.starts ?? 0));
    return {
      ...{
        id: idOfJob(key, createdAt),
        name,
        label: queue,
        queue,
        jobId,
        engineState: state,
        status: statusOfState[state],
      },
      ...{
        priority: before?.priority ?? 0,
        tags: {},
        schedule: null,
        progress: null,
        progressText: null,
        stack: null,
      },
      runAt: before ? Date.parse(before.runAt) : createdAt,
      startedAt: hints.startedAt ?? startOf(before),
      endedAt,
      attempt,
      maxAttempts: Math.max(attempt, before?.maxAttempts ?? 1),
      error: state === 'failed' ? storedError(name, hints.failedReason ?? '', null) : null,
      isCancelling: false,
    };
  }

  #remember(key: string, hint: JobHint): void {
    this.#unread.set(key, hint);
    const [oldest] = this.#unread.keys();
    if (oldest !== undefined && this.#unread.size > maxUnread) this.#unread.delete(oldest);
  }
}

/** Returns when a running task started. The start of an earlier run does not count. */
function startOf(before: TaskSummary | undefined): number | null {
  return before?.status === 'running' && before.startedAt !== null
    ? Date.parse(before.startedAt)
    : null;
}

/** BullMQ's progress is a number up to 100. Any other value is shown as text. */
function progressOf(progress: unknown): { progress: number | null; progressText: string | null } {
  if (typeof progress === 'number')
    return {
      progress: progress === 0 ? null : Math.max(0, Math.min(1, progress / 100)),
      progressText: null,
    };
  if (progress === undefined || progress === null || progress === '' || progress === '0')
    return { progress: null, progressText: null };
  const text = typeof progress === 'string' ? progress : JSON.stringify(progress);
  return { progress: null, progressText: text.slice(0, maxProgressText) };
}

/** Returns the error of the last attempt, or null if the job runs again or has succeeded. */
function errorOf(
  { name, failedReason, stacktrace }: PresentJob['job']['json'],
  status: TaskStatus,
): StoredError | null {
  if (!failedReason || status === 'running' || status === 'success') return null;
  return storedError(name, failedReason, stacksOf(stacktrace).at(-1) ?? null);
}

/**
 * Builds an error from what BullMQ stores: a message, and a stack whose first line begins with the
 * name of the error.
 */
export function storedError(jobName: string, message: string, stack: string | null): StoredError {
  const name = /^([A-Za-z_$][\w$]*)(?::|$)/.exec(stack?.split('\n', 1)[0] ?? '')?.[1] ?? 'Error';
  const error = {
    name,
    message: message.slice(0, maxError.message),
    stack: stack?.slice(0, maxError.stack) ?? null,
  };
  return { ...error, fingerprint: fingerprint(jobName, error) };
}
