import type { KeepJobs, MinimalJob } from 'bullmq';
import { RedisQueueBackend } from '../bullmq-version.js';

/** A job that a step moves, with the token of the lock that our script took. */
export interface StepJob {
  jobId: string;
  token: string;
  /** Unix milliseconds. */
  at: number;
}

/** A script of BullMQ with its arguments. */
export interface StepCommand {
  name: string;
  args: unknown[];
}

/** What is written as the error of a cancelled job, for other programs. */
const reason = 'the task was cancelled';

/** BullMQ's scripts for one queue, with what they need to move a job. */
export class StepBackend extends RedisQueueBackend {
  /** Ends a job under our lock as failed. */
  fail({ jobId, token, at }: StepJob, kept: KeepJobs): StepCommand[] {
    // BullMQ tells by an event that a job has used up its attempts, which a cancelled one has not.
    const ended = { id: jobId, opts: { attempts: Number.MAX_SAFE_INTEGER } } as MinimalJob;
    const args = this.moveToFinishedArgs(ended, reason, 'failedReason', kept, 'failed', token, at, false);
    return [{ name: 'moveToFinished', args }];
  }

  /** Sends a job under our lock back to wait, for some milliseconds or until its turn. */
  sendBack({ jobId, token, at }: StepJob, delay: number): StepCommand[] {
    if (delay === 0) return [{ name: 'retryJob', args: this.retryJobArgs(jobId, false, token) }];
    return [{ name: 'moveToDelayed', args: this.moveToDelayedArgs(jobId, at, token, delay, { skipAttempt: true }) }];
  }

  /** Ends the delay of a job. */
  endDelay({ jobId }: StepJob): StepCommand[] {
    const { delayed, wait, paused, meta, prioritized, active, pc, events, marker } = this.keys;
    const keys = [delayed, wait, paused, meta, prioritized, active, pc, events, marker];
    return [{ name: 'promote', args: [...keys, this.toKey(''), jobId] }];
  }

  /** Removes a job unless it is locked, and releases the lock if it is ours. */
  removeUnlocked({ jobId, token }: StepJob): StepCommand[] {
    return [
      { name: 'removeJob', args: this.removeArgs(jobId, false) },
      { name: 'releaseLock', args: [this.toKey(`${jobId}:lock`), token] },
    ];
  }
}
