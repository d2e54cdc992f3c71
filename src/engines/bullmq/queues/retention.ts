import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import { waitUnref } from '../../../waiting.js';
import { RedisWork } from '../connection/connections.js';
import type { ChangeNotes } from '../jobs/change-notes.js';
import { type EndedGroup, endedGroups } from '../read/groups.js';
import type { CountedQueues } from '../read/marked-jobs.js';
import type { Queues } from './queues.js';

/** Which ended jobs are kept. */
export interface KeptJobs {
  /** Seconds. */
  age: number;
  count: number;
}

interface RetentionDeps extends CountedQueues {
  queues: Queues;
  changes: ChangeNotes;
  kept: KeptJobs;
  /** The name of this process in lists of workers. */
  name: string;
  logger: Logger;
}

/** Milliseconds. */
const intervals = {
  /** Between two rounds, across all processes. */
  clean: 3_600_000,
  /** Between two attempts of a process to be the one that does the next round. */
  look: 300_000,
};
/** How many jobs BullMQ removes per step. Redis does nothing else during a step. */
const stepSize = 1000;
/** Milliseconds between two steps. */
const pause = 20;

/**
 * Removes jobs that are older than the retention allows. BullMQ removes them only when a later job
 * of the queue ends in the same state, so jobs of an unused queue would stay. Every hour, one of
 * the started processes removes them.
 */
export class Retention {
  readonly #deps: RetentionDeps;
  readonly #cleaning: RedisWork;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(deps: RetentionDeps) {
    this.#deps = deps;
    this.#cleaning = new RedisWork(deps.logger, 'removing old tasks');
  }

  start(): void {
    this.#timer ??= runInEmptyContext(() =>
      setInterval(() => this.#cleaning.run(() => this.#cleanIfElected()), intervals.look).unref(),
    );
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  async #cleanIfElected(): Promise<void> {
    const { redis, keys, name } = this.#deps;
    // The key expires a little before the interval ends, so that this process is not too early for
    // the next round.
    const held = intervals.clean - intervals.look / 2;
    if ((await redis.set(keys.cleaning, name, 'PX', held, 'NX')) === 'OK') await this.clean();
  }

  /** Removes the jobs of all queues that ended too long ago, and markers without a job. */
  async clean(): Promise<void> {
    const { catalog, marked } = this.#deps;
    await catalog.refresh();
    for (const { queue } of catalog.all()) {
      for (const group of endedGroups) await this.#cleanGroup(queue, group);
      // It drops the markers of removed jobs.
      await marked.count(queue);
    }
  }

  async #cleanGroup(queue: string, group: EndedGroup): Promise<void> {
    const { queues, kept, changes } = this.#deps;
    while (!this.#isStopped) {
      const removed = await queues.get(queue).clean(kept.age * 1000, stepSize, group);
      for (const jobId of removed) changes.soon({ queue, jobId, state: 'removed' });
      if (removed.length < stepSize) return;
      await waitUnref(pause);
    }
  }
}
