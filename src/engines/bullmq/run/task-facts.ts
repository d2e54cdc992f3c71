import type { TransitionObserver } from '../../../tasks/engine.js';
import { isEnded } from '../../../tasks/states.js';
import type { ClaimedTask } from '../../../tasks/task-runner.js';
import type { TaskSummary } from '../../../tasks/types.js';
import { taskIdOf } from '../jobs/job-ids.js';
import { summaryAfter } from '../jobs/job-view.js';
import { count, deadlineOf, jobFields, notesOfJob, type TaskJob } from '../jobs/task-job.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import type { EndedTask } from '../statistics/statistics.js';
import type { EndNotes } from './end-notes.js';
import { nextAttempt } from './ends.js';

/** What is called when a task ends. */
export interface EndCalls {
  observer(): TransitionObserver | undefined;
  /** Counts a task that has ended. */
  ended(task: EndedTask): void;
}

/** Reports an end of an attempt that is stored. `at`: Unix milliseconds. */
export function reportEnd(
  { observer, ended }: EndCalls,
  task: TaskJob,
  entry: CatalogEntry,
  end: EndNotes,
  at: number,
): void {
  const observing = observer();
  if (observing?.wants(end.status)) observing.tell(summaryAtEnd(task, entry, end, at));
  if (isEnded(end.status)) ended(endedOf(task, entry, end, at));
}

/** Returns what statistics count of a task that has ended. `at`: Unix milliseconds. */
function endedOf(task: TaskJob, entry: CatalogEntry, end: EndNotes, at: number): EndedTask {
  const { id, name, processedOn } = task.json;
  // An end that writes the start of the attempt belongs to a task without one.
  const start = 'processedOn' in end.fields ? undefined : processedOn;
  return {
    id: taskIdOf(entry.queue, id),
    name,
    queue: entry.label,
    status: end.status,
    at,
    ms: start === undefined ? undefined : Math.max(0, at - start),
    failure: end.status === 'failed' ? end.error : undefined,
  };
}

/** Returns the fields by which a log line names the attempt of a job that was fetched. */
export function attemptFields(
  task: TaskJob,
  { queue }: CatalogEntry,
): { taskId: string; task: string; attempt: number } {
  const { id, name } = task.json;
  return { taskId: taskIdOf(queue, id), task: name, attempt: nextAttempt(task) };
}

/** Why a cancelled job failed, in BullMQ's words. */
export const cancelReason = 'the task was cancelled';

/** Returns a task as lists show it after an attempt has ended. `at`: Unix milliseconds. */
function summaryAtEnd(task: TaskJob, entry: CatalogEntry, end: EndNotes, at: number): TaskSummary {
  const failedReason = end.status === 'cancelled' ? cancelReason : end.error?.message;
  const json = {
    ...task.json,
    ...(failedReason !== undefined && { failedReason }),
    ...(isEnded(end.status) && { finishedOn: at }),
  };
  return summaryAfter({ ...task, json }, end.fields, entry, end.status);
}

/** Returns the task with the id that users know, for its handler and the log. */
export function named(task: ClaimedTask, { queue }: CatalogEntry): ClaimedTask {
  const id = taskIdOf(queue, task.id);
  return id === task.id ? task : { ...task, id };
}

/**
 * Returns a job as the runner takes it. Code that runs for each task avoids the spread syntax,
 * whose copies stay in memory longer.
 */
export function claimedOf(task: TaskJob, { label }: CatalogEntry): ClaimedTask {
  const { json, fields } = task;
  const attempt = nextAttempt(task);
  return {
    id: json.id,
    name: json.name,
    queue: label,
    tags: notesOfJob(task).tags ?? {},
    attempt,
    args: json.data,
    deadlineAt: deadlineOf(task),
    tryNumber: attempt - count(fields[jobFields.seriesStart]) - count(fields[jobFields.interrupts]),
    logLines: count(fields[jobFields.logLines]),
  };
}
