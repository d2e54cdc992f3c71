import type { ClaimedTask, StoredError } from '../../../tasks/engine.js';
import type { TaskStatus } from '../../../tasks/types.js';
import { taskIdOf } from '../jobs/job-ids.js';
import { count, deadlineOf, jobFields, notesOfJob, type TaskJob } from '../jobs/task-job.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import type { EndedTask } from '../statistics/statistics.js';
import { nextAttempt } from './ends.js';

/** Returns what statistics count of a task that has ended. */
export function endedOf(end: {
  task: TaskJob;
  entry: CatalogEntry;
  status: TaskStatus;
  at: number;
  error: StoredError | undefined;
  /** Whether the task ended during an attempt. Default `true`. */
  started?: boolean;
}): EndedTask {
  const { task, entry, status, at, error, started = true } = end;
  const { id, name } = task.json;
  const { processedOn } = started ? task.json : {};
  return {
    id: taskIdOf(entry.queue, id),
    name,
    queue: entry.label,
    status,
    at,
    ms: processedOn === undefined ? undefined : Math.max(0, at - processedOn),
    failure: status === 'failed' ? error : undefined,
  };
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
