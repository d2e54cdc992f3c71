import type { Row } from '../embedded/database.js';
import { idOf } from '../embedded/rows.js';
import { type PackedTasks, packedAt, packedWidth } from '../embedded/write.js';
import { jobIdOf, type WaitingJob } from './job-lanes.js';

/** The columns that a job is made of. */
export const waitingColumns =
  'task.seq AS seq, hex(task.id) AS id, lane.name AS name, lane.queue AS queue, task.priority AS priority, task.attempt AS attempt, task.run_at AS run_at';

/** Tasks with those columns, to be followed by a condition. */
export const waitingTasks = `SELECT ${waitingColumns} FROM task JOIN lane ON lane.id = task.lane`;

/** The job that hands out a task which waits. */
export function toWaiting(row: Row): WaitingJob {
  const taskId = idOf(row.id);
  return {
    jobId: jobIdOf(taskId, Number(row.attempt)),
    lane: { name: String(row.name), queue: String(row.queue) },
    taskId,
    priority: Number(row.priority),
    runAt: Number(row.run_at),
  };
}

/** The jobs of tasks that are about to be stored. */
export function jobsOf({ values }: PackedTasks): WaitingJob[] {
  const jobs: WaitingJob[] = [];
  for (let from = 0; from < values.length; from += packedWidth) {
    const taskId = String(values[from + packedAt.id]);
    const key = values[from + packedAt.key];
    jobs.push({
      jobId: jobIdOf(taskId, 0),
      lane: { name: String(values[from + packedAt.name]), queue: String(values[from + packedAt.queue]) },
      taskId,
      priority: Number(values[from + packedAt.priority]),
      runAt: Number(values[from + packedAt.runAt]),
      ...(typeof key === 'string' && { key }),
    });
  }
  return jobs;
}
