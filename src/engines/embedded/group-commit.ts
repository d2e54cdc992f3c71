import { TaskflowError } from '../../errors.js';
import type { TaskStatus } from '../../tasks/types.js';
import type {
  BatchResult,
  Claim,
  Kind,
  Write,
  WriteFailure,
  WriteOf,
  WriteOutcome,
  Written,
} from '../tables/write/batch.js';
import { weightOf } from './batch-weight.js';
import type { Clock } from './clock.js';
import type { WritePort } from './write-port.js';

interface Pending {
  write: Write;
  weight: number;
  settle(outcome: WriteOutcome): void;
  fail(error: unknown): void;
}

interface GroupCommitDeps {
  port: WritePort;
  clock: Clock;
  /**
   * Returns what this process can claim now, apart from `reserved` tasks that it may already
   * receive. Called for each batch.
   */
  claim(reserved: number): Claim | undefined;
  /** Returns the states whose transitions an observer is subscribed to. */
  wanted(): readonly TaskStatus[];
  /** Called after a commit, before its callers are notified. */
  onClaimed(result: Pick<BatchResult, 'claimed' | 'begun' | 'expired'>): void;
  /**
   * Called after each claim, in the order of the commits, with the time at which the next delayed
   * task is due.
   */
  onDue(nextDue: number | null): void;
  /** Called after a failed claim. GroupCommit itself does not try the claim again. */
  onClaimFailed(error: unknown): void;
  /** Called after each commit. */
  onCommitted(): void;
  /**
   * Returns the write that returns tasks to the queue after the answer to their claim was lost, or
   * `undefined` if that is not possible.
   */
  handBack?(): WriteOf<'handBack'> | undefined;
  /** Maximum number of characters of a batch with more than one write. Default 16 million. */
  batchWeight?: number;
}

/**
 * Maximum number of results that are handled in one turn of the event loop, if the disk is fast.
 */
const resultsAtOnce = 64;

/**
 * Default maximum of a batch: the characters that a commit writes in about a tenth of a second, far
 * below the maximum length of a JavaScript string.
 */
const usualWeight = 16_000_000;

/**
 * Gathers the writes of one turn of the event loop, with a claim, into a batch that is one commit.
 * A hundred callers thus share a single sync of the disk.
 * - If the sync takes most of a commit, one batch is open at a time, and the next one gathers
 *   meanwhile.
 * - If it does not, two batches are open, so that this thread handles the results of one while the
 *   other is written.
 * - A batch has a maximum weight. Further writes wait for the next batch.
 * - `#reserved` counts the tasks that open batches may still claim, so that no more tasks are
 *   claimed than slots are free.
 * - If the answer to a claim was lost, `handBack` returns the unknown tasks to the queue before the
 *   next claim.
 */
export class GroupCommit {
  readonly #deps: GroupCommitDeps;
  readonly #batchWeight: number;
  #pending: Pending[] = [];
  #wanted = false;
  #scheduled = false;
  readonly #underWay = new Set<Promise<void>>();
  /** Whether the sync took most of the time of the last commit. */
  #diskBound = true;
  /** Number of tasks that open batches may claim, or have claimed without starting them yet. */
  #reserved = 0;
  /** Whether the answer to a claim was lost. The claim may have been committed. */
  #unsure = false;
  #closed = false;

  constructor({ batchWeight = usualWeight, ...deps }: GroupCommitDeps) {
    this.#deps = deps;
    this.#batchWeight = batchWeight;
  }

  /** Adds a write to the next batch. Resolves when it is durable. */
  submit<K extends Kind>(write: WriteOf<K> & { kind: K }): Promise<Written[K]> {
    if (this.#closed)
      return Promise.reject(
        new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped'),
      );
    return new Promise((resolve, reject) => {
      const settle = (outcome: WriteOutcome): void => {
        if (outcome.ok) resolve(outcome.value as Written[K]);
        else reject(writeError(outcome.error));
      };
      this.#pending.push({ write, weight: weightOf(write), settle, fail: reject });
      this.#schedule();
    });
  }

  /** Claims tasks with the next commit, if slots are free. */
  wake(): void {
    if (this.#closed) return;
    this.#wanted = true;
    this.#schedule();
  }

  /** Waits for the open batches. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** Waits until no batch is open and no batch is scheduled. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0 || this.#scheduled) {
      await Promise.all(this.#underWay);
      await this.#nextTurn();
    }
  }

  /** Waits for all submitted writes, and refuses further ones. */
  async close(): Promise<void> {
    while (this.#underWay.size > 0 || this.#pending.length > 0) {
      await Promise.all(this.#underWay);
      if (this.#pending.length > 0) await this.#nextTurn();
    }
    this.#closed = true;
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.nextTurn(resolve));
  }

  #schedule(): void {
    // If the result of a claim is unknown, no other batch may be open until that is resolved.
    const most = this.#diskBound || this.#unsure ? 1 : 2;
    if (this.#scheduled || this.#underWay.size >= most) return;
    this.#scheduled = true;
    const begin = (): void => {
      this.#scheduled = false;
      this.#begin();
    };
    this.#deps.clock.nextTurn(begin);
  }

  #begin(): void {
    const limited = this.#reserved > 0;
    const claim = this.#claim();
    // Slots that an open batch may fill are not available to this batch. They may be free later.
    this.#wanted &&= limited && !claim;
    if (this.#pending.length === 0 && !claim) return;
    const batch = this.#take();
    if (claim) this.#reserved += claim.limit;
    const flushed = this.#flush(batch, claim, limited)
      // The batch was answered, but its answer could not be handled.
      .catch((error) => this.#deps.onClaimFailed(error))
      .finally(() => {
        this.#underWay.delete(flushed);
        if (this.#pending.length > 0 || this.#wanted) this.#schedule();
      });
    this.#underWay.add(flushed);
    if (this.#pending.length > 0) this.#schedule();
  }

  #claim(): Claim | undefined {
    try {
      return this.#deps.claim(this.#reserved);
    } catch (error) {
      this.#deps.onClaimFailed(error);
      return undefined;
    }
  }

  /** Takes the first gathered writes, up to the maximum weight of a batch. */
  #take(): Pending[] {
    let weight = 0;
    const over = this.#pending.findIndex((each, index) => {
      weight += each.weight;
      return index > 0 && weight > this.#batchWeight;
    });
    const batch = over < 0 ? this.#pending : this.#pending.slice(0, over);
    this.#pending = over < 0 ? [] : this.#pending.slice(over);
    const handBack = this.#unsure && this.#underWay.size === 0 && this.#deps.handBack?.();
    if (!handBack) return batch;
    // It comes first, so that the claim of this batch may take the same tasks.
    this.#unsure = false;
    const fail = (): void => {
      this.#unsure = true;
    };
    const settle = ({ ok }: WriteOutcome): void => {
      if (!ok) fail();
    };
    return [{ write: handBack, weight: 0, settle, fail }, ...batch];
  }

  async #flush(
    batch: readonly Pending[],
    claim: Claim | undefined,
    limited: boolean,
  ): Promise<void> {
    const { port, clock, wanted, onDue, onClaimFailed, onCommitted } = this.#deps;
    const limit = claim?.limit ?? 0;
    let answer: Promise<BatchResult>;
    let result: BatchResult;
    try {
      answer = port.apply({
        writes: batch.map(({ write }) => write),
        claim,
        at: clock.now(),
        wanted: wanted(),
      });
    } catch (error) {
      if (batch.length + (claim ? 1 : 0) > 1) return this.#flushEach(batch, claim, limited);
      answer = Promise.reject(error);
    }
    try {
      result = await answer;
    } catch (error) {
      this.#reserved -= limit;
      // The batch may have been stored although it failed, with tasks that no claim has seen.
      if (limited) this.#wanted = true;
      if (claim) {
        this.#unsure = true;
        onClaimFailed(error);
      }
      for (const { fail } of batch) fail(error);
      return;
    }
    this.#reserved -= limit - result.claimed.length;
    if (result.more || (limited && result.claimed.length === limit)) this.#wanted = true;
    this.#diskBound = result.diskBound;
    // Called before all callers are notified, because the next batch may be answered before that.
    if (result.claimError) onClaimFailed(writeError(result.claimError));
    else if (claim) onDue(result.nextDue);
    await this.#deliver(batch, result);
    onCommitted();
  }

  /**
   * Sends the writes of a batch one by one, after the batch could not be sent. Only the writes that
   * cannot be sent alone fail.
   */
  async #flushEach(
    batch: readonly Pending[],
    claim: Claim | undefined,
    limited: boolean,
  ): Promise<void> {
    for (const each of batch) await this.#flush([each], undefined, false);
    if (claim) await this.#flush([], claim, limited);
  }

  /**
   * Starts the claimed tasks and notifies the callers. If there are many, this takes two turns of
   * the event loop. The first callers can then submit their next writes before the second turn.
   */
  async #deliver(
    batch: readonly Pending[],
    { claimed, outcomes, begun, expired }: BatchResult,
  ): Promise<void> {
    const parts = !this.#diskBound && claimed.length + outcomes.length > resultsAtOnce ? 2 : 1;
    for (let part = 0; part < parts; part++) {
      const of = (length: number, end: number): number => Math.floor((length * end) / parts);
      const some = claimed.slice(of(claimed.length, part), of(claimed.length, part + 1));
      this.#reserved -= some.length;
      this.#deps.onClaimed(
        part === 0 ? { claimed: some, begun, expired } : { claimed: some, begun: [], expired: [] },
      );
      for (let index = of(batch.length, part); index < of(batch.length, part + 1); index++)
        batch[index]?.settle(outcomes[index] ?? done);
      if (part + 1 === parts) return;
      // Scheduled before the turn that notifies the rest, so that the writes that follow from the
      // first part are sent by then.
      this.#schedule();
      await this.#nextTurn();
    }
  }
}

const done: WriteOutcome = { ok: true, value: undefined };

function writeError({ message, errcode }: WriteFailure): TaskflowError {
  // 13: SQLITE_FULL, 10: SQLITE_IOERR, 8: SQLITE_READONLY, 11: SQLITE_CORRUPT.
  const known: Record<number, string> = {
    13: 'the disk is full',
    10: 'the disk failed',
    8: 'the file may not be written',
    11: 'the file is damaged',
  };
  const why = errcode === undefined ? undefined : known[errcode];
  return new TaskflowError(
    'ENGINE_UNAVAILABLE',
    `the task database could not be written: ${why ? `${why} (${message})` : message}`,
  );
}
