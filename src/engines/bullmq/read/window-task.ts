import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { factsOf, isoTime, type JobState, progressOf, statusOf } from '../job-view.js';
import { notesOfJob, type TaskJob, taskPriority } from '../task-job.js';
import type { RowIds } from './row-ids.js';
import { entryOf, type JobNote, type KnownQueues, type ReadJob } from './source.js';
import type { WindowTask } from './window-rows.js';

/** What is needed to show a job as a task. */
export interface Naming {
  catalog: KnownQueues;
  ids: RowIds;
  rules: JobRules;
}

/** A job that was read and is there, in one of BullMQ's states. */
export interface PresentJob extends ReadJob {
  state: JobState;
  job: TaskJob;
}

/** What is different between the jobs of `bullmqEngine` and those of attached queues. */
export interface JobRules {
  /** Whether a job whose id is a UUIDv7 is called by that alone. */
  readonly hasOwnIds: boolean;
  /**
   * Whether an ended job stays in the window when BullMQ has removed it, and whether the ends of jobs are counted in the window,
   * because nothing in Redis counts them.
   */
  readonly keepsEnded: boolean;
  /** A job as a row of the window. */
  taskOf(read: PresentJob, naming: Naming): WindowTask;
  /**
   * A job that was gone before it could be read, by its last note, or `same` if its row stays as it is. Without this, the row is
   * dropped.
   */
  gone?(note: JobNote, before: TaskSummary | undefined): WindowTask | 'same';
}

/** The jobs of `bullmqEngine`. */
export const engineJobs: JobRules = {
  hasOwnIds: true,
  keepsEnded: false,
  taskOf({ queue, jobId, job, state, dueAt }, { catalog, ids }) {
    const { json } = job;
    const { tags = {}, schedule = null } = notesOfJob(job);
    const status = statusOf(job, state);
    const { progress, progressText = null } = progressOf(json.progress);
    return {
      id: ids.make(queue, jobId, json.timestamp),
      name: json.name,
      label: entryOf(catalog, queue).label,
      priority: taskPriority(json.priority),
      facts: factsOf(job, status, dueAt),
      ...{ queue, jobId, status, tags, schedule, progress, progressText },
    };
  },
};

/** A job that was read as a row of the window; none if it is gone. */
export function taskOf(read: ReadJob, naming: Naming): WindowTask | undefined {
  return isPresent(read) ? naming.rules.taskOf(read, naming) : undefined;
}

function isPresent(read: ReadJob): read is PresentJob {
  return read.job !== undefined && read.state !== 'removed' && read.state !== 'changed';
}

/** A job that was read as lists show it; none if it is gone. */
export function shownJob(read: ReadJob, naming: Naming): TaskSummary | undefined {
  const task = taskOf(read, naming);
  return task && summaryOf(task, naming.ids.nameOf(task.queue, task.jobId));
}

function summaryOf(task: WindowTask, id: string): TaskSummary {
  const { name, label, status, priority, tags, schedule, facts, progress, progressText, engineState } = task;
  const { runAt, startedAt, endedAt, attempt, maxAttempts, error, isCancelling } = facts;
  const state = engineState ?? (isCancelling ? 'cancelling' : undefined);
  return {
    ...{ id, name, status, queue: label, priority, tags, attempt, maxAttempts, progress },
    ...(state !== undefined && { engineState: state }),
    source: schedule === null ? 'manual' : 'scheduled',
    createdAt: isoTime(timeOfTaskId(task.id)),
    runAt: isoTime(runAt),
    startedAt: startedAt === null ? null : isoTime(startedAt),
    endedAt: endedAt === null ? null : isoTime(endedAt),
    duration: endedAt === null || startedAt === null ? null : Math.max(0, endedAt - startedAt) / 1000,
    ...(progressText !== null && { progressText }),
    error: error && { name: error.name, message: error.message },
    fingerprint: error?.fingerprint || null,
  };
}
