import type { Redis } from 'ioredis';
import { jobOfMember } from '../change-notes.js';
import type { EngineKeys } from '../keys.js';
import type { TaskJob } from '../task-job.js';
import type { JobPlace, JobSteps } from './job-steps.js';

/** Milliseconds that the process which runs a job has before another one looks what became of it. */
const reaction = 2000;

interface CancellationsParts {
  redis: Redis;
  keys: EngineKeys;
  steps: JobSteps;
  /** Cancels the attempts of this process among jobs of these names. */
  cancelHere(members: ReadonlySet<string>): void;
  /** Called when a job was cancelled that waited. */
  cancelled(place: JobPlace, job: TaskJob): void;
}

/**
 * Running jobs that are to be cancelled. The command notes them in a hash; the process that runs the job looks there and ends
 * it, and its last step removes the entry. An entry remains if the job ended another way, so each process removes those. A job
 * that went back to wait for its next attempt is cancelled there.
 */
export class Cancellations {
  readonly #parts: CancellationsParts;

  constructor(parts: CancellationsParts) {
    this.#parts = parts;
  }

  async poll(): Promise<void> {
    const { redis, keys, cancelHere } = this.#parts;
    const entries = await redis.hgetall(keys.cancelling);
    const members = Object.keys(entries);
    if (members.length === 0) return;
    cancelHere(new Set(members));
    const now = Date.now();
    const old = members.filter((member) => now - timeOf(entries[member]) > reaction);
    await Promise.all(old.map((member) => this.#settle(member, entries[member] ?? '')));
  }

  async #settle(member: string, by: string): Promise<void> {
    const { redis, keys, steps, cancelled } = this.#parts;
    const place: JobPlace | undefined = jobOfMember(member);
    if (!place) {
      await redis.hdel(keys.cancelling, member);
      return;
    }
    const { state } = await steps.forgetCancel(place);
    if (state !== 'waiting' && state !== 'prioritized' && state !== 'delayed') return;
    const { done, state: before, job } = await steps.cancel(place, Date.now(), by);
    if (done && job && before !== 'active') cancelled(place, job);
  }
}

/** When an entry was made; 0 for one of another shape. */
function timeOf(entry: string | undefined): number {
  try {
    const { at } = JSON.parse(entry ?? '') as { at?: unknown };
    return typeof at === 'number' ? at : 0;
  } catch {
    return 0;
  }
}
