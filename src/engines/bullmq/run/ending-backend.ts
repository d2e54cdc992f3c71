import type { RedisClient, RedisQueueBackend } from 'bullmq';
import { raw2NextJobData } from 'bullmq';
import type { Redis } from 'ioredis';
import type { TurnoverMap } from '../../turnover.js';
import { persistently, untilRepeatable } from '../connection/connections.js';
import type { ChangeNotes } from '../jobs/change-notes.js';
import { jobFields } from '../jobs/task-job.js';
import type { EngineKeys, Marker } from '../keys.js';
import { type EndNotes, type EndStep, refusals, type Verdict } from './end-notes.js';
import type { FetchedJobs } from './fetched-jobs.js';
import { type LockScope, takeLocks } from './locks.js';
import { endMarked } from './marked-end.js';
import type { MissingLocks } from './missing-locks.js';

/** What BullMQ's worker gets of a step: the job that it fetched next, and the time of the step. */
export interface StepResult {
  result: undefined | unknown[];
  finishedOn: number;
}

interface EndStepsDeps {
  /** The backend of the queue, whose scripts are the steps. */
  backend: Pick<RedisQueueBackend, 'client' | 'execCommand' | 'finishedErrors' | 'toKey'>;
  /** BullMQ's name of the queue. */
  queue: string;
  redis: Redis;
  keys: EngineKeys;
  changes: ChangeNotes;
  /** How attempts end, by job. */
  ends: TurnoverMap<string, EndNotes>;
  fetched: FetchedJobs;
  missing: MissingLocks;
  /** The locks of this queue. */
  scope: LockScope;
  /** Builds the step that ends a job as cancelled, in place of a step that was refused. */
  cancelling(step: EndStep, token: string): EndStep;
}

/**
 * Runs the steps of BullMQ that end attempts, until Redis has confirmed each of them. If a script
 * refuses a step, this finds out why: the step is stored already, the lock is missing, the task was
 * cancelled, or the attempt no longer has the job.
 */
export class EndSteps {
  readonly #deps: EndStepsDeps;
  /**
   * The connection for commands, once it is ready. Awaiting it for each job would cost more than
   * the rest of a step.
   */
  #client: RedisClient | undefined;

  constructor(deps: EndStepsDeps) {
    this.#deps = deps;
  }

  /**
   * Runs a step together with what is stored beside it, and repeats it until Redis has answered.
   * Returns the next job.
   */
  async run(first: EndStep): Promise<StepResult> {
    const { jobId, at } = first;
    let step = first;
    let notes = this.#deps.ends.get(jobId);
    const starts = this.#deps.fetched.starts(jobId);
    try {
      for (let mayTakeLock = true; ; ) {
        let raw: unknown;
        try {
          this.#client ??= await this.#deps.backend.client;
          raw = await this.#send(this.#client, step, notes);
        } catch (error) {
          await untilRepeatable(this.#deps.redis, error);
          continue;
        }
        if (typeof raw !== 'number' || raw >= 0) {
          notes?.listener?.stored(notes, at);
          return {
            result: Array.isArray(raw) ? raw2NextJobData(this.#deps.fetched.keep(raw)) : undefined,
            finishedOn: at,
          };
        }
        const verdict = await persistently(this.#deps.redis, () =>
          this.#judge(step, raw, mayTakeLock ? starts : undefined),
        );
        mayTakeLock = false;
        if (verdict === 'again') continue;
        const cancelled = typeof verdict === 'object' ? notes?.listener?.cancelled() : undefined;
        if (typeof verdict === 'object' && cancelled) {
          cancelled.listener = notes?.listener;
          this.#deps.ends.set(jobId, cancelled);
          [step, notes] = [this.#deps.cancelling(step, verdict.token), cancelled];
          continue;
        }
        if (verdict === 'stored' && notes) notes.listener?.stored(notes, at);
        else notes?.listener?.dropped?.(verdict === 'gone');
        return { result: undefined, finishedOn: at };
      }
    } finally {
      // Cleared, because a map may still hold the notes, and the listener would keep the task in
      // memory.
      if (notes) notes.listener = undefined;
      // A newer attempt of the same job may have set its own end.
      if (this.#deps.ends.get(jobId) === notes) this.#deps.ends.delete(jobId);
      this.#deps.missing.forget(jobId);
      this.#deps.fetched.forget(jobId, starts);
    }
  }

  /**
   * Sends a step, and a note of it for processes that read. Such a process finds a change a little
   * later if its note was lost. So a transaction, which costs more than all the rest, is used only
   * for what must be stored together with the step.
   */
  #send(client: RedisClient, step: EndStep, notes: EndNotes | undefined): unknown {
    if (notes?.marker) return this.#endMarked(client, step, notes.marker);
    // The note is sent after the step.
    if (notes)
      this.#deps.changes.soon({ queue: this.#deps.queue, jobId: step.jobId, state: notes.state });
    return this.#deps.backend.execCommand(client, step.command, step.args);
  }

  /** Ends a job that gets a marker. */
  #endMarked(
    client: RedisClient,
    { command, jobId, args, at }: EndStep,
    marker: Marker,
  ): Promise<unknown> {
    const { keys, changes } = this.#deps;
    // Readers take the last note about a job, so earlier ones are sent before.
    changes.flush();
    return endMarked({
      ...{ client, keys, end: { queue: this.#deps.queue, jobId, marker, at } },
      step: (transaction) => this.#deps.backend.execCommand(transaction, command, args),
    });
  }

  /**
   * Finds out why a script refused to end an attempt. If the step was executed before and its
   * answer was lost, the job has the mark of this step. If only the lock is missing, after an
   * outage or a pause of this process, this takes it again.
   */
  async #judge(
    { jobId, token, mark, command }: EndStep,
    code: number,
    starts: string | undefined,
  ): Promise<Verdict> {
    // Here the script has already written the mark, so the mark proves nothing.
    if (code === refusals.notRunning) return 'lost';
    if (!Object.values(refusals).includes(code))
      throw this.#deps.backend.finishedErrors({ code, jobId, command, state: 'active' });
    const { redis } = this.#deps;
    if ((await redis.hget(this.#deps.backend.toKey(jobId), jobFields.endMark)) === mark)
      return 'stored';
    if (code === refusals.noJob) return 'gone';
    // A lock with another token may hold that of a cancelled job.
    if (starts === undefined && code !== refusals.otherLock) return 'lost';
    const { taken, gone, cancelled } = await takeLocks(redis, this.#deps.scope, [
      { jobId, token, starts },
    ]);
    const held = cancelled.get(jobId);
    if (held !== undefined) return { token: held };
    if (taken.has(jobId)) return 'again';
    return gone.has(jobId) ? 'gone' : 'lost';
  }
}
