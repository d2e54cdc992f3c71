import type { KeepJobs, MinimalJob } from 'bullmq';
import { RedisQueueBackend } from '../connection/bullmq-version.js';
import { jobFields, markerAt } from '../jobs/task-job.js';
import { cancelReason } from '../run/task-facts.js';

/** A job that a step moves, with the token of the lock that our script took. */
export interface StepJob {
  jobId: string;
  token: string;
  /** Unix milliseconds. */
  at: number;
}

/** A script of BullMQ with its keys and arguments. */
export interface StepMove {
  /** The name of the script as a command of ioredis. */
  name: string;
  args: unknown[];
}

/** Builds the calls of BullMQ's scripts that move the jobs of one queue. */
export class StepBackend extends RedisQueueBackend {
  /** Ends a job that we have locked as failed. */
  fail({ jobId, token, at }: StepJob, kept: KeepJobs): StepMove {
    // BullMQ sends an event if a job has used up its attempts. A cancelled job has not, so its
    // limit is set to the highest number.
    const ended = { id: jobId, opts: { attempts: Number.MAX_SAFE_INTEGER } } as MinimalJob;
    const fields = {
      [jobFields.marker]: markerAt('cancelled', at),
      [jobFields.error]: '',
      [jobFields.cancelling]: '',
    };
    const args = this.moveToFinishedArgs(
      ended,
      cancelReason,
      'failedReason',
      kept,
      'failed',
      token,
      at,
      false,
      fields,
    );
    return this.#move('moveToFinished', args);
  }

  /** Makes a job that we have locked wait again, for `delay` milliseconds or until its turn. */
  sendBack({ jobId, token, at }: StepJob, delay: number): StepMove {
    if (delay === 0) return this.#move('retryJob', this.retryJobArgs(jobId, false, token, {}));
    const args = this.moveToDelayedArgs(jobId, at, token, delay, { skipAttempt: true });
    return this.#move('moveToDelayed', args);
  }

  /** Ends the delay of a job. */
  endDelay({ jobId }: StepJob): StepMove {
    const { delayed, wait, paused, meta, prioritized, active, pc, events, marker } = this.keys;
    const keys = [delayed, wait, paused, meta, prioritized, active, pc, events, marker];
    return this.#move('promote', [...keys, this.toKey(''), jobId]);
  }

  /** Removes a job unless it is locked. */
  removeUnlocked({ jobId }: StepJob): StepMove {
    return this.#move('removeJob', this.removeArgs(jobId, false));
  }

  #move(script: string, args: unknown[]): StepMove {
    return { name: `${script}:${this.version}`, args };
  }
}
