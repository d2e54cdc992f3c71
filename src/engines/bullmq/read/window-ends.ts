import type { TaskStatus } from '../../../tasks/types.js';
import type { Database } from '../../tables/schema/database.js';
import { idOf } from '../../tables/schema/rows.js';
import { hasEnded, stateCode } from '../../tables/schema/states.js';
import type { JobRef } from '../jobs/job-ids.js';
import { codes, type EndedGroup } from './groups.js';

/** An ended job. `score`: when it ended, in Unix milliseconds, as in BullMQ's sets. */
export interface EndedJob extends JobRef {
  score: number;
}

/** A query for ended tasks of a queue, in one order, beginning at `start`. */
interface EndedQuery {
  queue: string;
  status: TaskStatus;
  isDescending: boolean;
  start: Omit<EndedJob, 'queue'> | undefined;
  limit: number;
}

/** Reads the ended tasks of a window by end time. */
export class WindowEnds {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Returns when the oldest ended task of a group ended, in Unix milliseconds. */
  oldest(group: EndedGroup): number | undefined {
    const ends = codes[group].flatMap((code) => {
      const end = this.#database.value<number | null>(
        `SELECT min(ended_at) FROM task INDEXED BY task_ended WHERE status = ?
          AND ${hasEnded}`,
        code,
      );
      return end ?? [];
    });
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  /** Returns some ended tasks of a queue and state, sorted by end time, then by job id. */
  page({ queue, status, isDescending, start, limit }: EndedQuery): (EndedJob & { row: string })[] {
    const [sign, order] = isDescending ? ['<=', 'DESC'] : ['>=', 'ASC'];
    const place = start
      ? [start.score, `${queue}:${start.jobId}`]
      : [isDescending ? Number.MAX_SAFE_INTEGER : -1, ''];
    return this.#database
      .all<{ id: Uint8Array; key: string; ended_at: number }>(
        `SELECT task.id, key, ended_at FROM task INDEXED BY window_ended
          JOIN job ON job.id = task.id
        WHERE owner = ? AND status = ? AND ${hasEnded} AND (ended_at, key) ${sign} (?, ?)
        ORDER BY ended_at ${order}, key ${order} LIMIT ?`,
        ...[queue, stateCode[status], ...place, limit],
      )
      .map((row) => ({
        queue,
        jobId: row.key.slice(queue.length + 1),
        score: row.ended_at,
        row: idOf(row.id),
      }));
  }

  /** Counts the tasks of a queue and group that ended until a time, in Unix milliseconds. */
  countUntil(queue: string, group: EndedGroup, end: number): number {
    const counts = codes[group].map((code) =>
      this.#database.value<number>(
        `SELECT count(*) FROM task INDEXED BY window_ended WHERE owner = ? AND status = ?
            AND ${hasEnded} AND ended_at <= ?`,
        ...[queue, code, end],
      ),
    );
    return counts.reduce((sum, n) => sum + n, 0);
  }
}
