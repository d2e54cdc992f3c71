import type { Redis } from 'ioredis';
import { hasCode } from '../connection/redis-errors.js';
import { storedObject } from '../connection/stored-object.js';
import { type JobRef, partsOf } from '../jobs/job-ids.js';
import type { TaskJob } from '../jobs/task-job.js';
import type { EngineKeys } from '../keys.js';
import type { JobSteps, StepAnswer } from './job-steps.js';

/**
 * Milliseconds that the process that runs a job has to cancel it. After that, any process checks
 * what became of the job.
 */
const reaction = 2000;

interface CancellationsDeps {
  redis: Redis;
  keys: EngineKeys;
  steps: JobSteps;
  /** Cancels the attempts of these jobs that this process runs. */
  cancelHere(members: ReadonlySet<string>): void;
  /** Called when a waiting job was cancelled. */
  cancelled(place: JobRef, job: TaskJob): void;
}

/**
 * Cancels running jobs. The command adds an entry to a hash. The process that runs the job finds
 * the entry and cancels the attempt, and its last step removes the entry. If the job ended in
 * another way, its entry remains, so each process that runs tasks removes such entries. If the job
 * waits for its next attempt by then, it is cancelled while it waits. If it waits for other jobs in
 * its flow, its entry stays until the job runs again or ends.
 */
export class Cancellations {
  readonly #deps: CancellationsDeps;

  constructor(deps: CancellationsDeps) {
    this.#deps = deps;
  }

  /**
   * Cancels what is to be cancelled here. Resolves to whether requests are still open that may
   * soon have an effect.
   */
  async poll(): Promise<boolean> {
    const { redis, keys, cancelHere } = this.#deps;
    const entries = await redis.hgetall(keys.cancelling);
    const members = Object.keys(entries);
    if (members.length === 0) return false;
    cancelHere(new Set(members));
    const now = Date.now();
    // The clock of the process that wrote an entry may be ahead by any time.
    const old = members.filter((member) => Math.abs(now - timeOf(entries[member])) > reaction);
    const open = await Promise.all(
      old.map((member) => this.#settle(member, entries[member] ?? '')),
    );
    return old.length < members.length || open.includes(true);
  }

  /**
   * Removes an old request if it can have no more effect. Resolves to whether it may soon have one.
   */
  async #settle(member: string, by: string): Promise<boolean> {
    const { redis, keys, steps, cancelled } = this.#deps;
    const place = partsOf(member);
    const forget = async (): Promise<false> => {
      await redis.hdel(keys.cancelling, member);
      return false;
    };
    if (place.queue === '') return forget();
    let state: StepAnswer['state'];
    try {
      ({ state } = await steps.forgetCancel(place));
    } catch (error) {
      // Another program stores something other than a job under this name.
      if (hasCode(error, 'WRONGTYPE')) return forget();
      throw error;
    }
    if (state !== 'waiting' && state !== 'prioritized' && state !== 'delayed')
      return state === 'active';
    const { done, state: before, job } = await steps.cancel(place, Date.now(), by);
    if (done && job && before !== 'active') cancelled(place, job);
    return before === 'active';
  }
}

/** Returns when an entry was written, or 0 if it has no time. */
function timeOf(entry: string | undefined): number {
  const { at } = storedObject(entry);
  return typeof at === 'number' ? at : 0;
}
