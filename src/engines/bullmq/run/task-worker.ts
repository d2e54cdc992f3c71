import { type Job, type JobJson, Worker } from 'bullmq';
import type { TaskJob } from '../task-job.js';
import type { TaskBackend } from './task-backend.js';

/** With this text BullMQ marks a job that its own check for crashes has returned several times. */
const stalledTooOften = /^job stalled more than/;

const stored = Symbol('stored');

/** A job with what is stored of it. */
interface FetchedJob extends Job {
  [stored]?: TaskJob;
}

/** BullMQ's worker, with jobs as they are stored: their arguments are parsed, and perhaps decrypted, by the runner. */
export class TaskWorker extends Worker<unknown, unknown, string, TaskBackend> {
  #slots: number | undefined;
  #held = 0;

  protected override createJob(json: JobJson, jobId: string): Job {
    const task = { json: { ...json, id: jobId }, fields: this.getBackend().takeFetched(jobId) ?? {} };
    json.data = '[]';
    // Whether a task that was interrupted may run again is not for BullMQ to say.
    if (json.deferredFailure !== undefined && stalledTooOften.test(json.deferredFailure)) delete json.deferredFailure;
    const job: FetchedJob = super.createJob(json, jobId);
    job[stored] = task;
    return job;
  }

  /** A fetched job as it is stored. */
  take(job: FetchedJob): TaskJob {
    const task = job[stored];
    if (!task) throw new Error(`job ${job.id} was not fetched by this worker`);
    return task;
  }

  /** Keeps a slot taken whose job has ended while its handler goes on. */
  holdSlot(): void {
    this.#slots ??= this.concurrency;
    this.#held += 1;
    if (this.#held < this.#slots) this.concurrency = this.#slots - this.#held;
    // BullMQ has no worker without a slot.
    else void this.pause(true);
  }

  /** Gives such a slot back. */
  freeSlot(): void {
    const slots = this.#slots ?? this.concurrency;
    this.#held -= 1;
    if (this.#held >= slots) return;
    this.concurrency = slots - this.#held;
    if (this.isPaused()) void this.resume();
  }
}
