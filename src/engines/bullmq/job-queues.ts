import type { Queue, QueueOptions, WorkerOptions } from 'bullmq';
import type { Redis } from 'ioredis';

/** Where the queues of BullMQ are, and what this process is called in them. */
export interface JobQueuesParts {
  bullmq: typeof import('bullmq');
  redis: Redis;
  prefix: string;
  token: string;
}

/** Milliseconds that a job stays this process's without a word of it, and between two looks for those of others that do not. */
export const jobTimes = { lock: 15_000, stalled: 5000 };
/** Events that are kept of a queue. */
const keptEvents = 1000;
/** Jobs leave nothing behind: what has become of a task is in the journal. */
export const leaveNothing = { removeOnComplete: true, removeOnFail: true };

/** Queues of BullMQ by their titles, all on one connection. */
export class JobQueues {
  readonly token: string;
  readonly #parts: JobQueuesParts;
  readonly #opened = new Map<string, Queue>();

  constructor(parts: JobQueuesParts) {
    this.#parts = parts;
    this.token = parts.token;
  }

  get(title: string): Queue {
    const { bullmq, redis, prefix } = this.#parts;
    let queue = this.#opened.get(title);
    if (!queue) {
      // Those of a worker, which this process is one of though it asks for each job.
      const worker: Partial<WorkerOptions> = {
        lockDuration: jobTimes.lock,
        stalledInterval: jobTimes.stalled,
        maxStalledCount: 1_000_000_000,
      };
      const options: QueueOptions = {
        connection: redis,
        prefix,
        streams: { events: { maxLen: keptEvents } },
        // A scheduler is told when it is next, each time.
        settings: { repeatStrategy: (_now, { startDate }) => Number(startDate) },
        ...worker,
      };
      queue = new bullmq.Queue(title, options);
      // Whoever calls it is told.
      queue.on('error', () => {});
      this.#opened.set(title, queue);
    }
    return queue;
  }

  all(): Iterable<Queue> {
    return this.#opened.values();
  }

  /** Takes the next job of a queue, if there is one, and answers its id. */
  async take(queue: Queue): Promise<string | undefined> {
    const [, id] = (await queue.getBackend().moveToActive(this.token)) as [unknown, string | 0 | undefined];
    return id || undefined;
  }

  /** A job that was taken has done what it was for. */
  async finish(queue: Queue, id: string, failure?: string): Promise<void> {
    const job = new this.#parts.bullmq.Job(queue, queue.name, {}, leaveNothing, id);
    const backend = queue.getBackend();
    if (failure === undefined) await backend.moveToCompleted(job, null, true, this.token, false);
    else await backend.moveToFailed(job, failure, true, this.token, false);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#opened.values()].map((queue) => queue.close().catch(() => undefined)));
  }
}
