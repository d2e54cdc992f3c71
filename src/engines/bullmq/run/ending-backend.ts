import { type KeepJobs, type RedisClient, raw2NextJobData } from 'bullmq';
import { TurnoverMap } from '../../turnover.js';
import { persistently, untilRepeatable } from '../connection/connections.js';
import { transact } from '../connection/redis-script.js';
import { WaitingBackend, type WorkerDeps } from '../connection/waiting-backend.js';
import { recordOfEnd } from '../control/step-records.js';
import type { ChangeNotes } from '../jobs/change-notes.js';
import { jobFields } from '../jobs/task-job.js';
import type { Marker } from '../keys.js';
import {
  type EndListener,
  type EndNotes,
  type EndStep,
  refusals,
  type Verdict,
} from './end-notes.js';
import { FetchedJobs } from './fetched-jobs.js';
import { type LockScope, takeLocks } from './locks.js';
import { type LockListener, MissingLocks } from './missing-locks.js';

/** What BullMQ's worker gets of a step: the job that it fetched next, and the time of the step. */
export interface StepResult {
  result: undefined | unknown[];
  finishedOn: number;
}

/** What the backends of an engine share. */
export interface BackendDeps extends WorkerDeps {
  changes: ChangeNotes;
  /** Milliseconds after which a job counts as crashed if its worker has not renewed its lock. */
  lockDuration: number;
  /** Which ended jobs are kept, including cancelled ones. */
  kept: KeepJobs;
}

/**
 * Runs the steps of BullMQ that end attempts, until Redis has confirmed each of them. If a script
 * refuses a step, this finds out why: the step is stored already, the lock is missing, the task was
 * cancelled, or the attempt no longer has the job.
 */
export abstract class EndingBackend extends WaitingBackend {
  protected readonly deps: BackendDeps;
  /** How attempts end, by job. An entry is added just before BullMQ ends the job. */
  protected readonly ends = new TurnoverMap<string, EndNotes>();
  protected readonly fetched = new FetchedJobs();
  protected readonly missing: MissingLocks;
  /**
   * The connection for commands, once it is ready. Awaiting it for each job would cost more than
   * the rest of a step.
   */
  #client: RedisClient | undefined;

  constructor(
    deps: BackendDeps,
    listener: LockListener,
    ...rest: ConstructorParameters<typeof WaitingBackend>
  ) {
    super(...rest);
    this.deps = deps;
    const { redis } = deps;
    this.missing = new MissingLocks({
      redis,
      listener,
      scope: this.lockScope,
      fetched: this.fetched,
    });
  }

  /** Builds the step that ends a job as cancelled, in place of a step that was refused. */
  protected abstract cancellingStep(step: EndStep, token: string): EndStep;

  /** The keys of the locks of this queue. */
  get lockScope(): LockScope {
    return {
      active: this.toKey('active'),
      jobKey: (jobId) => this.toKey(jobId),
      duration: this.deps.lockDuration,
    };
  }

  /**
   * Sets how the present attempt of a job ends. The job's next step stores it, and the listener
   * gets the outcome.
   */
  willEnd(jobId: string, notes: EndNotes, listener?: EndListener): void {
    notes.listener = listener;
    this.ends.set(jobId, notes);
  }

  /** Whether no end of an attempt waits to be stored. */
  get isIdle(): boolean {
    return this.ends.size === 0;
  }

  /** The ends of attempts that Redis has not confirmed. */
  get unconfirmed(): EndNotes[] {
    return [...this.ends.values()];
  }

  /**
   * Runs a step together with what is stored beside it, and repeats it until Redis has answered.
   * Returns the next job.
   */
  protected async runStep(first: EndStep): Promise<StepResult> {
    const { jobId, at } = first;
    let step = first;
    let notes = this.ends.get(jobId);
    const starts = this.fetched.starts(jobId);
    try {
      for (let mayTakeLock = true; ; ) {
        let raw: unknown;
        try {
          this.#client ??= await this.client;
          raw = await this.#send(this.#client, step, notes);
        } catch (error) {
          await untilRepeatable(this.deps.redis, error);
          continue;
        }
        if (typeof raw !== 'number' || raw >= 0) {
          notes?.listener?.stored(notes, at);
          return {
            result: Array.isArray(raw) ? raw2NextJobData(this.fetched.keep(raw)) : undefined,
            finishedOn: at,
          };
        }
        const verdict = await persistently(this.deps.redis, () =>
          this.#judge(step, raw, mayTakeLock ? starts : undefined),
        );
        mayTakeLock = false;
        if (verdict === 'again') continue;
        const cancelled = typeof verdict === 'object' ? notes?.listener?.cancelled() : undefined;
        if (typeof verdict === 'object' && cancelled) {
          cancelled.listener = notes?.listener;
          this.ends.set(jobId, cancelled);
          [step, notes] = [this.cancellingStep(step, verdict.token), cancelled];
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
      if (this.ends.get(jobId) === notes) this.ends.delete(jobId);
      this.missing.forget(jobId);
      this.fetched.forget(jobId, starts);
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
    if (notes) this.deps.changes.soon({ queue: this.name, jobId: step.jobId, state: notes.state });
    return this.execCommand(client, step.command, step.args);
  }

  /** Ends a job that gets a marker, and adds the record of it in the same transaction. */
  async #endMarked(
    client: RedisClient,
    { command, jobId, args, at }: EndStep,
    marker: Marker,
  ): Promise<unknown> {
    const { keys, changes } = this.deps;
    // Readers take the last note about a job, so earlier ones are sent before.
    changes.flush();
    const record = recordOfEnd(keys, { queue: this.name, jobId, marker, at });
    // If Redis lacked the script of the step, the record has written nothing.
    const answers = await transact(client, (transaction) => {
      this.execCommand(transaction, command, args);
      // The text is sent each time, so Redis cannot lack this script.
      transaction.eval(record.text, record.keys.length, ...record.keys, ...record.args);
    });
    const [error, answer] = answers[0] ?? [null];
    if (error) throw error;
    return answer;
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
      throw this.finishedErrors({ code, jobId, command, state: 'active' });
    const { redis } = this.deps;
    if ((await redis.hget(this.toKey(jobId), jobFields.endMark)) === mark) return 'stored';
    if (code === refusals.noJob) return 'gone';
    // A lock with another token may hold that of a cancelled job.
    if (starts === undefined && code !== refusals.otherLock) return 'lost';
    const { taken, gone, cancelled } = await takeLocks(redis, this.lockScope, [
      { jobId, token, starts },
    ]);
    const held = cancelled.get(jobId);
    if (held !== undefined) return { token: held };
    if (taken.has(jobId)) return 'again';
    return gone.has(jobId) ? 'gone' : 'lost';
  }
}
