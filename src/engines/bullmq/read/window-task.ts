import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { factsOf, isoTime, type JobState, progressOf, statusOf } from '../jobs/job-view.js';
import { notesOfJob, type TaskJob, taskPriority } from '../jobs/task-job.js';
import { entryOf, type JobNote, type ModelParts, type ReadJob } from './source.js';
import type { WindowTask } from './window-rows.js';

/** What is needed to show a job as a task. */
export type Naming = Pick<ModelParts, 'catalog' | 'ids' | 'rules'>;

/** A job that was read and exists, in one of BullMQ's states. */
export interface PresentJob extends ReadJob {
  state: JobState;
  job: TaskJob;
}

/** The differences between the jobs of `bullmqEngine` and those of attached queues. */
export interface JobRules {
  /** Whether a job whose id is a UUIDv7 has it as its public id, without the queue. */
  readonly hasOwnIds: boolean;
  /**
   * Whether an ended job stays in the window after BullMQ has removed it. The window then counts
   * the ends of jobs too, because nothing in Redis counts them.
   */
  readonly keepsEnded: boolean;
  /** Converts a job to a row of the window. */
  taskOf(read: PresentJob, naming: Naming): WindowTask;
  /**
   * Builds the row of a job that was removed before it could be read, from its last note. Returns
   * `same` if the row stays as it is. Without this method, the row is dropped.
   */
  gone?(note: JobNote, before: TaskSummary | undefined): WindowTask | 'same';
}

/** The rules for the jobs of `bullmqEngine`. */
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

/** Converts a job to a row of the window. Returns undefined if the job no longer exists. */
export function taskOf(read: ReadJob, naming: Naming): WindowTask | undefined {
  return isPresent(read) ? naming.rules.taskOf(read, naming) : undefined;
}

function isPresent(read: ReadJob): read is PresentJob {
  return read.job !== undefined && read.state !== 'removed' && read.state !== 'changed';
}

/** Converts a job to a task as lists show it. Returns undefined if the job no longer exists. */
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
