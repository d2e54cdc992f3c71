import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { TaskSummary } from '../../../tasks/types.js';
import type { JobRef } from '../jobs/job-ids.js';
import { isJobState, type JobState, shownJobOf, statusOf, toSummary } from '../jobs/job-view.js';
import type { TaskJob } from '../jobs/task-job.js';
import type { RowIds } from './row-ids.js';
import { entryOf, type JobNote, type KnownQueues, type ReadJob } from './source.js';
import type { WindowTask } from './window-rows.js';

/** What is needed to show a job as a task. */
export interface Naming {
  catalog: KnownQueues;
  ids: RowIds;
  rules: JobRules;
}

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
  /** Converts a job to a row of the window. `label`: its queue as users know it. */
  shown(read: PresentJob, label: string): Omit<WindowTask, 'id' | keyof JobRef>;
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
  shown: ({ job, state, dueAt }, label) => shownJobOf(job, label, statusOf(job, state), dueAt),
};

/** Converts a job to a row of the window. Returns undefined if the job no longer exists. */
export function taskOf(read: ReadJob, { catalog, ids, rules }: Naming): WindowTask | undefined {
  if (!isPresent(read)) return undefined;
  const { queue, jobId, job } = read;
  const id = ids.make(read, job.json.timestamp);
  return { id, queue, jobId, ...rules.shown(read, entryOf(catalog, queue).label) };
}

function isPresent(read: ReadJob): read is PresentJob {
  return read.job !== undefined && isJobState(read.state);
}

/** Converts a job to a task as lists show it. Returns undefined if the job no longer exists. */
export function shownJob(read: ReadJob, naming: Naming): TaskSummary | undefined {
  const task = taskOf(read, naming);
  return task && toSummary(task, naming.ids.nameOf(task), timeOfTaskId(task.id));
}
