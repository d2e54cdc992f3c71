import type { TaskSummary } from '../../../tasks/types.js';
import { factsOf, progressOf, statusOf, summaryOf } from '../job-view.js';
import type { QueueCatalog } from '../queue-catalog.js';
import { notesOfJob, taskPriority } from '../task-job.js';
import type { ReadJob } from './job-source.js';
import type { RowIds } from './row-ids.js';
import type { WindowTask } from './window-rows.js';

/** What is needed to show a job as a task. */
export interface Naming {
  catalog: QueueCatalog;
  ids: RowIds;
}

/** A job that was read as a row of the window; none if it is gone. */
export function taskOf({ queue, jobId, job, state, dueAt }: ReadJob, { catalog, ids }: Naming): WindowTask | undefined {
  if (!job || state === 'removed' || state === 'changed') return undefined;
  const { json } = job;
  const { tags = {}, schedule = null } = notesOfJob(job);
  const status = statusOf(job, state);
  const { progress, progressText = null } = progressOf(json.progress);
  return {
    id: ids.make(queue, jobId, json.timestamp),
    name: json.name,
    label: catalog.get(queue)?.label ?? queue,
    priority: taskPriority(json.priority),
    facts: factsOf(job, status, dueAt),
    queue,
    status,
    tags,
    schedule,
    progress,
    progressText,
  };
}

/** A job that was read as lists show it; none if it is gone. */
export function shownJob({ queue, jobId, job, state, dueAt }: ReadJob, { catalog, ids }: Naming): TaskSummary | undefined {
  if (!job || state === 'removed' || state === 'changed') return undefined;
  const summary = summaryOf(job, catalog.get(queue) ?? { queue, label: queue }, statusOf(job, state), dueAt);
  return { ...summary, id: ids.make(queue, jobId, job.json.timestamp) };
}
