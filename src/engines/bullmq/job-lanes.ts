import type { BulkJobOptions, Job, Queue, QueueOptions, WorkerOptions } from 'bullmq';
import type { Redis } from 'ioredis';

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
}

/** A job that this process holds. */
export interface HeldJob {
  job: Job;
  lane: Lane;
  taskId: string;
  /** Number of the last attempt before the one that it is for. */
  attempt: number;
}

/** Milliseconds that a job stays this process's without a word of it, and between two looks for those of others that do not. */
const times = { lock: 15_000, stalled: 5000 };
/** The largest priority of a task is the first of BullMQ's, which count from 1 and have the smallest go first. */
const firstPriority = 1_000_001;
/** Jobs that are added with one call, and events that are kept of a queue. */
const sizes = { add: 500, events: 1000 };

/** The id of the job that hands out the next attempt of a task. */
export function jobIdOf(taskId: string, attempt: number): string {
  return `${taskId}-${attempt}`;
}

/** The queues of BullMQ that tasks are handed out by, all on one connection. */
export class JobLanes {
  readonly #bullmq: typeof import('bullmq');
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #queues = new Map<string, Queue>();
  readonly #token: string;

  constructor(bullmq: typeof import('bullmq'), { redis, prefix, token }: { redis: Redis; prefix: string; token: string }) {
    this.#bullmq = bullmq;
    this.#redis = redis;
    this.#prefix = prefix;
    this.#token = token;
  }

  #queue({ name, queue }: Lane): Queue {
    // A colon would end it.
    const title = `${encodeURIComponent(queue)}/${encodeURIComponent(name)}`;
    let opened = this.#queues.get(title);
    if (!opened) {
      // Those of a worker, which this process is one of though it asks for each job.
      const worker: Partial<WorkerOptions> = { lockDuration: times.lock, stalledInterval: times.stalled, maxStalledCount: 1_000_000_000 };
      const options: QueueOptions = {
        connection: this.#redis,
        prefix: this.#prefix,
        streams: { events: { maxLen: sizes.events } },
        ...worker,
      };
      opened = new this.#bullmq.Queue(title, options);
      // Whoever calls it is told.
      opened.on('error', () => {});
      this.#queues.set(title, opened);
    }
    return opened;
  }

  /** Adds jobs; one that is there already stays as it is. */
  async add(jobs: readonly WaitingJob[], now = Date.now()): Promise<void> {
    const byQueue = new Map<Queue, { name: string; data: { task: string }; opts: BulkJobOptions }[]>();
    for (const { jobId, lane, taskId, priority, runAt } of jobs) {
      const queue = this.#queue(lane);
      const list = byQueue.get(queue) ?? [];
      byQueue.set(queue, list);
      const opts = {
        jobId,
        priority: firstPriority - priority,
        delay: Math.max(0, runAt - now),
        removeOnComplete: true,
        removeOnFail: true,
      };
      list.push({ name: lane.name, data: { task: taskId }, opts });
    }
    for (const [queue, list] of byQueue)
      for (let from = 0; from < list.length; from += sizes.add) await queue.addBulk(list.slice(from, from + sizes.add));
  }

  /** Takes the next job of a lane, if there is one. */
  async take(lane: Lane): Promise<HeldJob | undefined> {
    const queue = this.#queue(lane);
    const [, id] = (await queue.getBackend().moveToActive(this.#token)) as [unknown, string | 0 | undefined];
    if (!id) return undefined;
    const at = id.lastIndexOf('-');
    return {
      job: new this.#bullmq.Job(queue, lane.name, {}, { removeOnComplete: true, removeOnFail: true }, id),
      lane,
      taskId: id.slice(0, at),
      attempt: Number(id.slice(at + 1)),
    };
  }

  /** Lets somebody else have it; with `runAt`, not before then. */
  async putBack({ job, lane }: HeldJob, runAt?: number): Promise<void> {
    const backend = this.#queue(lane).getBackend();
    const id = job.id ?? '';
    const now = Date.now();
    if (runAt !== undefined && runAt > now) await backend.moveToDelayed(id, now, runAt - now, this.#token);
    else await backend.moveJobFromActiveToWait(id, this.#token);
  }

  /** It has done what it was for. */
  async finish({ job, lane }: HeldJob, failure?: string): Promise<void> {
    const backend = this.#queue(lane).getBackend();
    if (failure === undefined) await backend.moveToCompleted(job, null, true, this.#token, false);
    else await backend.moveToFailed(job, failure, true, this.#token, false);
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
    for (const { job, lane } of held) {
      const queue = this.#queue(lane);
      byQueue.set(queue, [...(byQueue.get(queue) ?? []), job.id ?? '']);
    }
    for (const [queue, ids] of byQueue)
      await queue.getBackend().extendLocks(
        ids,
        ids.map(() => this.#token),
        times.lock,
      );
  }

  /** Hands the jobs on that a process held which is gone. BullMQ sees to it that of many who ask, one looks. */
  async recoverStalled(): Promise<void> {
    for (const queue of this.#queues.values()) await queue.getBackend().moveStalledJobsToWait();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close().catch(() => undefined)));
  }
}
