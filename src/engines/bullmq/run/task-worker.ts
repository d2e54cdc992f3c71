import { type Job, type JobJson, Worker } from 'bullmq';
import type { TaskBackend } from '../task-backend.js';
import type { TaskJob } from '../task-job.js';

/** With this text BullMQ marks a job that its own check for crashes has returned several times. */
const stalledTooOften = /^job stalled more than/;

/** BullMQ's worker, with jobs as they are stored: their arguments are parsed, and perhaps decrypted, by the runner. */
export class TaskWorker extends Worker<unknown, unknown, string, TaskBackend> {
  readonly #stored = new WeakMap<Job, TaskJob>();
  #slots: number | undefined;
  #held = 0;

  protected override createJob(json: JobJson, jobId: string): Job {
    const { deferredFailure, ...rest } = json;
    // Whether a task that was interrupted may run again is not for BullMQ to say.
    const deferred = deferredFailure === undefined || stalledTooOften.test(deferredFailure) ? {} : { deferredFailure };
    const job = super.createJob({ ...rest, ...deferred, data: '[]' }, jobId) as Job;
    this.#stored.set(job, { json: { ...json, id: jobId }, fields: this.getBackend().takeFetched(jobId) ?? {} });
    return job;
  }

  /** A fetched job as it is stored. */
  take(job: Job): TaskJob {
    const stored = this.#stored.get(job);
    if (!stored) throw new Error(`job ${job.id} was not fetched by this worker`);
    this.#stored.delete(job);
    return stored;
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
