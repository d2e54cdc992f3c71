import { statusOf, summaryOf } from '../job-view.js';
import type { QueueCatalog } from '../queue-catalog.js';
import { notesOfJob } from '../task-job.js';
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
  const label = catalog.get(queue)?.label ?? queue;
  const summary = summaryOf(job, label, statusOf(job, state), dueAt);
  const id = ids.make(queue, jobId, job.json.timestamp);
  return { queue, summary: { ...summary, id }, schedule: notesOfJob(job).schedule ?? null };
}
