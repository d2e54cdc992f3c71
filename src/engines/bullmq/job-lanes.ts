import type { BulkJobOptions, Queue } from 'bullmq';
import { type JobQueues, jobTimes, leaveNothing } from './job-queues.js';

/** Tasks of one name in one queue are the jobs of one queue of BullMQ, so that who takes the next can run it. */
export interface Lane {
  name: string;
  queue: string;
}

/** A job that a task waits to be handed out by. */
export interface WaitingJob {
  /** Tells a task that waits for one attempt from the same one that waits for the next. */
  jobId: string;
  lane: Lane;
  taskId: string;
  priority: number;
  /** Unix milliseconds. */
  runAt: number;
  /** Its idempotency key, while the journal has not decided yet whose task has it. */
  key?: string;
}

/** A job that this process holds. */
export interface HeldJob {
  jobId: string;
  lane: Lane;
  taskId: string;
  /** Number of the last attempt before the one that it is for. */
  attempt: number;
}

/** The largest priority of a task is the first of BullMQ's, which count from 1 and have the smallest go first. */
const firstPriority = 1_000_001;
/** Jobs that are added with one call. */
const mostAdded = 500;

/** The id of the job that hands out the next attempt of a task. */
export function jobIdOf(taskId: string, attempt: number): string {
  return `${taskId}-${attempt}`;
}

/** The queues of BullMQ that tasks are handed out by. */
export class JobLanes {
  readonly #queues: JobQueues;

  constructor(queues: JobQueues) {
    this.#queues = queues;
  }

  #queue({ name, queue }: Lane): Queue {
    // A colon would end it.
    return this.#queues.get(`${encodeURIComponent(queue)}/${encodeURIComponent(name)}`);
  }

  /** Adds jobs; one that is there already stays as it is. Answers those that were left out, since a job with their key waits or runs. */
  async add(jobs: readonly WaitingJob[], now = Date.now()): Promise<WaitingJob[]> {
    const byQueue = new Map<Queue, { name: string; data: { task: string }; opts: BulkJobOptions }[]>();
    for (const { jobId, lane, taskId, priority, runAt, key } of jobs) {
      const queue = this.#queue(lane);
      const list = byQueue.get(queue) ?? [];
      byQueue.set(queue, list);
      const opts = {
        jobId,
        priority: firstPriority - priority,
        delay: Math.max(0, runAt - now),
        ...leaveNothing,
        ...(key !== undefined && { deduplication: { id: key } }),
      };
      list.push({ name: lane.name, data: { task: taskId }, opts });
    }
    const added = new Set<string | undefined>();
    for (const [queue, list] of byQueue) {
      for (let from = 0; from < list.length; from += mostAdded) {
        // Where another job has the key, it is the id of that one.
        for (const { id } of await queue.addBulk(list.slice(from, from + mostAdded))) added.add(id);
      }
    }
    return jobs.filter(({ jobId }) => !added.has(jobId));
  }

  /** Takes the next job of a lane, if there is one. */
  async take(lane: Lane): Promise<HeldJob | undefined> {
    const jobId = await this.#queues.take(this.#queue(lane));
    if (jobId === undefined) return undefined;
    const at = jobId.lastIndexOf('-');
    return { jobId, lane, taskId: jobId.slice(0, at), attempt: Number(jobId.slice(at + 1)) };
  }

  /** Lets somebody else have it; with `runAt`, not before then. */
  async putBack({ jobId, lane }: HeldJob, runAt?: number): Promise<void> {
    const backend = this.#queue(lane).getBackend();
    const now = Date.now();
    if (runAt !== undefined && runAt > now) await backend.moveToDelayed(jobId, now, runAt - now, this.#queues.token);
    else await backend.moveJobFromActiveToWait(jobId, this.#queues.token);
  }

  /** It has done what it was for. */
  async finish({ jobId, lane }: HeldJob, failure?: string): Promise<void> {
    await this.#queues.finish(this.#queue(lane), jobId, failure);
  }

  /** Removes a job that waits. */
  async remove(lane: Lane, jobId: string): Promise<void> {
    await this.#queue(lane).getBackend().remove(jobId, false);
  }

  /** Has a delayed job wait no longer; another one stays as it is. */
  async promote(lane: Lane, jobId: string): Promise<void> {
    await this.#queue(lane)
      .getBackend()
      .promote(jobId)
      .catch(() => undefined);
  }

  /** Says that this process still holds them. */
  async renew(held: readonly HeldJob[]): Promise<void> {
    const byQueue = new Map<Queue, string[]>();
    for (const { jobId, lane } of held) {
      const queue = this.#queue(lane);
      byQueue.set(queue, [...(byQueue.get(queue) ?? []), jobId]);
    }
    for (const [queue, ids] of byQueue)
      await queue.getBackend().extendLocks(
        ids,
        ids.map(() => this.#queues.token),
        jobTimes.lock,
      );
  }

  /** Hands the jobs on that a process held which is gone. BullMQ sees to it that of many who ask, one looks. */
  async recoverStalled(): Promise<void> {
    for (const queue of this.#queues.all()) await queue.getBackend().moveStalledJobsToWait();
  }

  close(): Promise<void> {
    return this.#queues.close();
  }
}
