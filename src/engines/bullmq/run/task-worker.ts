import { type Job, type JobJson, Worker } from 'bullmq';
import { TurnoverSet } from '../../turnover.js';
import type { TaskJob } from '../jobs/task-job.js';
import type { TaskBackend } from './task-backend.js';

/** The text with which BullMQ marks a job that its stalled check has put back too often. */
const stalledTooOften = /^job stalled more than/;

const stored = Symbol('stored');

/** A job of BullMQ together with the job as it is stored. */
interface FetchedJob extends Job {
  [stored]?: TaskJob | undefined;
}

/**
 * BullMQ's worker, which leaves jobs as they are stored: the runner parses their arguments and, if
 * need be, decrypts them.
 */
export class TaskWorker extends Worker<unknown, unknown, string, TaskBackend> {
  #ready: Promise<void> | undefined;
  /** BullMQ's queue of the jobs that run, with its Set replaced. */
  #renewed: unknown;
  #slots: number | undefined;
  #held = 0;

  /**
   * Resolves once the connections have been ready for the first time. BullMQ asks this for every
   * job, through three functions; later outages do not matter here, because the backend repeats its
   * steps until Redis answers.
   */
  override waitUntilReady(): Promise<void> {
    this.#ready ??= super.waitUntilReady();
    return this.#ready;
  }

  /**
   * Calls the function. BullMQ's own method does the same without telemetry, but costs several
   * promises for each job.
   */
  override trace<T>(...[, , , call]: Parameters<Worker['trace']>): Promise<T> {
    return Promise.resolve(call() as T | Promise<T>);
  }

  protected override createJob(json: JobJson, jobId: string): Job {
    this.#renewRunning();
    const task = {
      json: { ...json, id: jobId },
      fields: this.getBackend().takeFetched(jobId) ?? {},
    };
    json.data = '[]';
    // The engine, not BullMQ, decides whether an interrupted task may run again.
    if (json.deferredFailure !== undefined && stalledTooOften.test(json.deferredFailure))
      delete json.deferredFailure;
    const job: FetchedJob = super.createJob(json, jobId);
    job[stored] = task;
    return job;
  }

  /**
   * Returns a fetched job as it is stored, once. BullMQ keeps its own form of the job for longer.
   */
  take(job: FetchedJob): TaskJob {
    const task = job[stored];
    if (!task) throw new Error(`job ${job.id} was not fetched by this worker`);
    job[stored] = undefined;
    return task;
  }

  /**
   * Replaces BullMQ's Set of the jobs that run. It has the fault that `TurnoverMap` describes, and
   * keeps whole jobs in memory. BullMQ creates a new Set when the worker resumes after a pause.
   */
  #renewRunning(): void {
    const queue: unknown = Reflect.get(this, 'mainLoopQueue');
    if (queue === this.#renewed || typeof queue !== 'object' || queue === null) return;
    this.#renewed = queue;
    const running: unknown = Reflect.get(queue, 'pending');
    if (running instanceof Set) Reflect.set(queue, 'pending', new TurnoverSet(running));
  }

  /** Keeps the slot of a job that has ended while its handler still runs. */
  holdSlot(): void {
    this.#slots ??= this.concurrency;
    this.#held += 1;
    if (this.#held < this.#slots) this.concurrency = this.#slots - this.#held;
    // A BullMQ worker has at least one slot, so a worker without any is paused.
    else void this.pause(true);
  }

  /** Frees such a slot. */
  freeSlot(): void {
    const slots = this.#slots ?? this.concurrency;
    this.#held -= 1;
    if (this.#held >= slots) return;
    this.concurrency = slots - this.#held;
    if (this.isPaused()) void this.resume();
  }
}
