import { type IRedisTransaction, type KeepJobs, type MinimalJob, RedisQueueBackend } from 'bullmq';

/** A job that a step moves, with the token of the lock that our script took. */
export interface StepJob {
  jobId: string;
  token: string;
  /** Unix milliseconds. */
  at: number;
}

/** What is written as the error of a cancelled job, for other programs. */
const reason = 'the task was cancelled';

/** BullMQ's scripts for one queue, as commands of a transaction. Each method returns how many commands it adds. */
export class StepBackend extends RedisQueueBackend {
  /** Ends a job under our lock as failed. */
  fail(transaction: IRedisTransaction, { jobId, token, at }: StepJob, kept: KeepJobs): number {
    // BullMQ tells by an event that a job has used up its attempts, which a cancelled one has not.
    const ended = { id: jobId, opts: { attempts: Number.MAX_SAFE_INTEGER } } as MinimalJob;
    const args = this.moveToFinishedArgs(ended, reason, 'failedReason', kept, 'failed', token, at, false);
    this.execCommand(transaction, 'moveToFinished', args);
    return 1;
  }

  /** Sends a job under our lock back to wait, for some milliseconds or until its turn. */
  sendBack(transaction: IRedisTransaction, { jobId, token, at }: StepJob, delay: number): number {
    if (delay > 0) this.execCommand(transaction, 'moveToDelayed', this.moveToDelayedArgs(jobId, at, token, delay, { skipAttempt: true }));
    else this.execCommand(transaction, 'retryJob', this.retryJobArgs(jobId, false, token));
    return 1;
  }

  /** Ends the delay of a job. */
  endDelay(transaction: IRedisTransaction, jobId: string): number {
    const { delayed, wait, paused, meta, prioritized, active, pc, events, marker } = this.keys;
    const keys = [delayed, wait, paused, meta, prioritized, active, pc, events, marker];
    this.execCommand(transaction, 'promote', [...keys, this.toKey(''), jobId]);
    return 1;
  }

  /** Removes a job unless it is locked, and releases the lock if it is ours. */
  removeUnlocked(transaction: IRedisTransaction, { jobId, token }: StepJob): number {
    this.execCommand(transaction, 'removeJob', this.removeArgs(jobId, false));
    this.execCommand(transaction, 'releaseLock', [this.toKey(`${jobId}:lock`), token]);
    return 2;
  }
}
