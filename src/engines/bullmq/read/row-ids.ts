import { idOfJob, isOwnId, keyOf, partsOf } from '../job-ids.js';

/** Jobs of other programs whose ids are remembered. */
const mostForeign = 200_000;

/**
 * The ids under which jobs are kept in the window. A job of this package has a UUIDv7, which it keeps. A job that another
 * program added may have any id; it is called by its queue and id, and kept under a UUIDv7 made of them.
 */
export class RowIds {
  /** Of jobs of other programs: from queue and id to the row, and back. */
  readonly #rows = new Map<string, string>();
  readonly #jobs = new Map<string, string>();

  /** The row of a job that was created at some time, in Unix milliseconds. */
  make(queue: string, jobId: string, createdAt: number): string {
    if (isOwnId(jobId)) return jobId;
    const key = keyOf(queue, jobId);
    const id = idOfJob(key, createdAt);
    this.#rows.set(key, id);
    this.#jobs.set(id, key);
    for (const [[first], map] of [[this.#rows.keys(), this.#rows] as const, [this.#jobs.keys(), this.#jobs] as const])
      if (map.size > mostForeign && first !== undefined) map.delete(first);
    return id;
  }

  /** The row of a job; none for a job of another program that was never kept. */
  of(queue: string, jobId: string): string | undefined {
    return isOwnId(jobId) ? jobId : this.#rows.get(keyOf(queue, jobId));
  }

  /** The id of the job of a row. */
  jobId(id: string): string {
    const key = this.#jobs.get(id);
    return key === undefined ? id : partsOf(key).jobId;
  }

  /** What the job of a row is called outside. */
  named(id: string): string {
    return this.#jobs.get(id) ?? id;
  }

  /** The row of what a job is called outside. */
  rowOf(name: string): string | undefined {
    return isOwnId(name) ? name : this.#rows.get(name);
  }

  /** Whether all jobs are of this package, so that no row has another name. */
  get arePlain(): boolean {
    return this.#jobs.size === 0;
  }
}
