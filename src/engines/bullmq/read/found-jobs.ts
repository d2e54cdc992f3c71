import type { TaskSummary } from '../../../tasks/types.js';
import { findStates, type JobSource, type KeyNames, type QueueCommand } from './source.js';
import { placesOf } from './stored-jobs.js';
import { type Naming, shownJob } from './window-task.js';

interface FindParts extends Naming {
  source: JobSource;
  keys: KeyNames;
}

/** The approximate number of commands per pipeline. */
const stepSize = 2000;

/** Reads tasks that are not in the window by their ids. Ids without a job are left out. */
export async function readByIds(parts: FindParts, ids: readonly string[]): Promise<TaskSummary[]> {
  const { source, keys, catalog } = parts;
  const tasks: TaskSummary[] = [];
  const size = Math.max(1, Math.floor(stepSize / Math.max(1, catalog.all().length)));
  for (let from = 0; from < ids.length; from += size) {
    const places = ids.slice(from, from + size).flatMap((id) => placesOf(catalog, id));
    const types = await source.send(places.map(({ queue, jobId }): QueueCommand => [queue, 'type', keys.ofQueue(queue, jobId)]));
    const jobs = places.filter((_, n) => types[n] === 'hash').map(({ queue, jobId }) => ({ queue, jobId }));
    const states = await findStates(parts, jobs);
    const found = await source.peek(jobs.map((job, n) => ({ ...job, state: states[n] ?? 'removed' })));
    tasks.push(...found.flatMap((read) => shownJob(read, parts) ?? []));
  }
  return tasks;
}
