import { TaskflowError } from '../../errors.js';
import type { TaskStatus } from '../../tasks/types.js';
import type {
  BatchResult,
  Claim,
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

interface GroupCommitParts {
  port: WritePort;
  clock: Clock;
  /**
   * What this process could take now, besides so many that it may be given already; asked for each
   * batch.
   */
  claim(reserved: number): Claim | undefined;
  /** States whose transitions an observer wants. */
  wanted(): readonly TaskStatus[];
  /** Called before the callers that wait for the commit are notified. */
  onClaimed(result: Pick<BatchResult, 'claimed' | 'begun' | 'expired'>): void;
  /** After each claim, in the order of the commits: when the next waiting task is due. */
  onDue(nextDue: number | null): void;
  /** After a claim that failed. Nothing looks for tasks again by itself. */
  onClaimFailed(error: unknown): void;
  /** After each commit. */
  onCommitted(): void;
  /**
   * Names the attempts of this process, to hand back what was claimed in batches whose answer was
   * lost; absent if that cannot be.
   */
  handBack?(): WriteOf<'handBack'> | undefined;
  /** Characters of a batch, unless it is one write. Default 16 million. */
  batchWeight?: number;
}

/**
 * Results of one batch that are dealt with in one turn of the event loop, where the disk is quick.
 */
const resultsAtOnce = 64;

/**
 * As much as a commit takes in about a tenth of a second, and far from the longest string of
 * JavaScript.
 */
const usualWeight = 16_000_000;

/**
 * Gathers what is written within one turn of the event loop into one commit, with the claims it
 * makes possible: a hundred callers share one sync of the disk. Where the sync takes the most of a
 * commit, one batch is under way at a time and the next gathers meanwhile. Where it does not, a
 * second is, so that this thread works on the results of one while the other is written. What is
 * more than a batch may weigh waits for the next one.
 */
export class GroupCommit {
  readonly #parts: GroupCommitParts;
  readonly #batchWeight: number;
  #pending: Pending[] = [];
  #wanted = false;
  #scheduled = false;
  readonly #underWay = new Set<Promise<void>>();
  /** Whether the last commit took most of its time to reach the disk. */
  #diskBound = true;
  /** Tasks that batches under way may claim, or have claimed and not begun. */
  #reserved = 0;
  /** Whether the answer to a claim was lost, which may have been committed. */
  #unsure = false;
  #closed = false;

  constructor({ batchWeight = usualWeight, ...parts }: GroupCommitParts) {
    this.#parts = parts;
    this.#batchWeight = batchWeight;
  }

  /** Resolves when the write is durable. */
  submit<K extends Write['kind']>(write: Extract<Write, { kind: K }>): Promise<Written[K]> {
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

  /** Looks for tasks to run, with the next commit. */
  wake(): void {
    if (this.#closed) return;
    this.#wanted = true;
    this.#schedule();
  }

  /** Waits for the batches under way. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** Waits until nothing is under way and nothing waits for the next batch. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0 || this.#scheduled) {
      await Promise.all(this.#underWay);
      await this.#nextTurn();
    }
  }

  /** Waits for what is under way and gathered, and takes no more. */
  async close(): Promise<void> {
    while (this.#underWay.size > 0 || this.#pending.length > 0) {
      await Promise.all(this.#underWay);
      if (this.#pending.length > 0) await this.#nextTurn();
    }
    this.#closed = true;
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.nextTurn(resolve));
  }

  #schedule(): void {
    // If the result of a claim is unknown, it is resolved before another claim is made.
    const most = this.#diskBound || this.#unsure ? 1 : 2;
    if (this.#scheduled || this.#underWay.size >= most) return;
    this.#scheduled = true;
    const begin = (): void => {
      this.#scheduled = false;
      this.#begin();
    };
    this.#parts.clock.nextTurn(begin);
  }

  #begin(): void {
    const limited = this.#reserved > 0;
    const claim = this.#claim();
    // Slots that a batch under way may fill are not available to this one, but may be left over.
    this.#wanted &&= limited && !claim;
    if (this.#pending.length === 0 && !claim) return;
    const batch = this.#take();
    if (claim) this.#reserved += claim.limit;
    const flushed = this.#flush(batch, claim, limited)
      // The batch was answered, but the answer could not be dealt with.
      .catch((error) => this.#parts.onClaimFailed(error))
      .finally(() => {
        this.#underWay.delete(flushed);
        if (this.#pending.length > 0 || this.#wanted) this.#schedule();
      });
    this.#underWay.add(flushed);
    if (this.#pending.length > 0) this.#schedule();
  }

  #claim(): Claim | undefined {
    try {
      return this.#parts.claim(this.#reserved);
    } catch (error) {
      this.#parts.onClaimFailed(error);
      return undefined;
    }
  }

  /** Takes the first gathered writes, up to the weight of a batch. */
  #take(): Pending[] {
    let weight = 0;
    const over = this.#pending.findIndex((each, index) => {
      weight += each.weight;
      return index > 0 && weight > this.#batchWeight;
    });
    const batch = over < 0 ? this.#pending : this.#pending.slice(0, over);
    this.#pending = over < 0 ? [] : this.#pending.slice(over);
    const handBack = this.#unsure && this.#underWay.size === 0 && this.#parts.handBack?.();
    if (!handBack) return batch;
    // It goes first, so that the claim of this batch may take the same tasks.
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
    const { port, clock, wanted, onDue, onClaimFailed, onCommitted } = this.#parts;
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
      // The batch may have been stored nevertheless, with tasks that no claim has seen.
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
    // Done now and not after all callers are settled, because the next batch may be answered before
    // that.
    if (result.claimError) onClaimFailed(writeError(result.claimError));
    else if (claim) onDue(result.nextDue);
    await this.#deliver(batch, result);
    onCommitted();
  }

  /**
   * Sends the writes of a batch that could not be sent one by one, so that it fails only for those
   * that cannot be sent alone.
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
   * Begins the tasks that were claimed and tells the callers; of many in two turns, so that the
   * first have their next batch written meanwhile.
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
      this.#parts.onClaimed(
        part === 0 ? { claimed: some, begun, expired } : { claimed: some, begun: [], expired: [] },
      );
      for (let index = of(batch.length, part); index < of(batch.length, part + 1); index++)
        batch[index]?.settle(outcomes[index] ?? done);
      if (part + 1 === parts) return;
      // Before the turn in which the rest is told, so that what comes of these is on its way by
      // then.
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
