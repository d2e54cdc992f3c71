import type { Redis } from 'ioredis';
import type { FetchedJobs } from './fetched-jobs.js';
import { type LockScope, takeLocks, type Unlocked } from './locks.js';

/**
 * Called when the lock of a job that runs here is lost, or shows that the job is to be cancelled.
 */
export interface LockListener {
  /** Called when the lock of a job shows that a job that runs here is to be cancelled. */
  cancelRequested?(jobId: string): void;
  /**
   * Called when a job that runs here has lost its lock to another process. `isGone`: the job no
   * longer exists.
   */
  lockLost?(jobId: string, isGone: boolean): void;
}

interface MissingLocksDeps {
  redis: Redis;
  scope: LockScope;
  listener: LockListener;
  fetched: FetchedJobs;
}

/** Takes missing locks of jobs that run here. After an outage, all of them are missing. */
export class MissingLocks {
  readonly #deps: MissingLocksDeps;
  /** Jobs that still run here although another process has taken them over. */
  readonly #lost = new Set<string>();

  constructor(deps: MissingLocksDeps) {
    this.#deps = deps;
  }

  /**
   * Takes locks. Returns the locks that this process still holds for jobs to be cancelled, by job
   * id.
   */
  async take(jobs: readonly Unlocked[]): Promise<ReadonlyMap<string, string>> {
    const { redis, scope, listener, fetched } = this.#deps;
    // Whether the attempt still runs here. The next one of the same job may have begun.
    const isRunning = ({ jobId, starts }: Unlocked): boolean =>
      starts !== undefined && fetched.starts(jobId) === starts;
    const missing = jobs.filter((job) => isRunning(job) && !this.#lost.has(job.jobId));
    if (missing.length === 0) return new Map();
    const { taken, gone, cancelled } = await takeLocks(redis, scope, missing);
    for (const { jobId } of missing.filter(isRunning)) {
      if (cancelled.has(jobId)) listener.cancelRequested?.(jobId);
      if (taken.has(jobId) || cancelled.has(jobId)) continue;
      this.#lost.add(jobId);
      listener.lockLost?.(jobId, gone.has(jobId));
    }
    return cancelled;
  }

  /** Forgets a job whose attempt has ended. */
  forget(jobId: string): void {
    this.#lost.delete(jobId);
  }
}
