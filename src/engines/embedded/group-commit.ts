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
  handBack(): WriteOf<'handBack'> | undefined;
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

/** Writes and claims in batches. */
export type GroupCommit = ReturnType<typeof createGroupCommit>;

/**
 * Creates the part that gathers the writes of one turn of the event loop, with a claim, into a
 * batch that is one commit. A hundred callers thus share a single sync of the disk.
 * - If the sync takes most of a commit, one batch is open at a time, and the next one gathers
 *   meanwhile.
 * - If it does not, two batches are open, so that this thread handles the results of one while the
 *   other is written.
 * - A batch has a maximum weight. Further writes wait for the next batch.
 * - `reserved` counts the tasks that open batches may still claim, so that no more tasks are
 *   claimed than slots are free.
 * - If the answer to a claim was lost, `handBack` returns the unknown tasks to the queue before the
 *   next claim.
 */
export function createGroupCommit(deps: GroupCommitDeps) {
  const { port, clock, wanted, onClaimed, onDue, onClaimFailed, onCommitted, handBack } = deps;
  const { batchWeight = usualWeight } = deps;
  const pending: Pending[] = [];
  let claimWanted = false;
  let scheduled = false;
  const underWay = new Set<Promise<void>>();
  /** Whether the sync took most of the time of the last commit. */
  let diskBound = true;
  /** Number of tasks that open batches may claim, or have claimed without starting them yet. */
  let reserved = 0;
  /** Whether the answer to a claim was lost. The claim may have been committed. */
  let unsure = false;
  let closed = false;

  const nextTurn = (): Promise<void> => new Promise((resolve) => clock.nextTurn(resolve));

  const schedule = (): void => {
    // If the result of a claim is unknown, no other batch may be open until that is resolved.
    const most = diskBound || unsure ? 1 : 2;
    if (scheduled || underWay.size >= most) return;
    scheduled = true;
    clock.nextTurn(() => {
      scheduled = false;
      begin();
    });
  };

  const begin = (): void => {
    const limited = reserved > 0;
    const claim = claimNow();
    // Slots that an open batch may fill are not available to this batch. They may be free later.
    claimWanted &&= limited && !claim;
    if (pending.length === 0 && !claim) return;
    const batch = take();
    if (claim) reserved += claim.limit;
    const flushed = flush(batch, claim, limited)
      // The batch was answered, but its answer could not be handled.
      .catch(onClaimFailed)
      .finally(() => {
        underWay.delete(flushed);
        if (pending.length > 0 || claimWanted) schedule();
      });
    underWay.add(flushed);
    if (pending.length > 0) schedule();
  };

  const claimNow = (): Claim | undefined => {
    try {
      return deps.claim(reserved);
    } catch (error) {
      onClaimFailed(error);
      return undefined;
    }
  };

  /** Takes the first gathered writes, up to the maximum weight of a batch. */
  const take = (): Pending[] => {
    let weight = 0;
    const over = pending.findIndex((each, index) => {
      weight += each.weight;
      return index > 0 && weight > batchWeight;
    });
    const batch = pending.splice(0, over < 0 ? pending.length : over);
    const write = unsure && underWay.size === 0 && handBack();
    if (!write) return batch;
    // It comes first, so that the claim of this batch may take the same tasks.
    unsure = false;
    const fail = (): void => {
      unsure = true;
    };
    const settle = ({ ok }: WriteOutcome): void => {
      if (!ok) fail();
    };
    return [{ write, weight: 0, settle, fail }, ...batch];
  };

  const flush = async (
    batch: readonly Pending[],
    claim: Claim | undefined,
    limited: boolean,
  ): Promise<void> => {
    const limit = claim?.limit ?? 0;
    let answer: Promise<BatchResult>;
    let result: BatchResult;
    try {
      const writes = batch.map(({ write }) => write);
      answer = port.apply({ writes, claim, at: clock.now(), wanted: wanted() });
    } catch (error) {
      if (batch.length + (claim ? 1 : 0) > 1) return flushEach(batch, claim, limited);
      answer = Promise.reject(error);
    }
    try {
      result = await answer;
    } catch (error) {
      reserved -= limit;
      // The batch may have been stored although it failed, with tasks that no claim has seen.
      if (limited) claimWanted = true;
      if (claim) {
        unsure = true;
        onClaimFailed(error);
      }
      for (const { fail } of batch) fail(error);
      return;
    }
    reserved -= limit - result.claimed.length;
    if (result.more || (limited && result.claimed.length === limit)) claimWanted = true;
    ({ diskBound } = result);
    // Called before all callers are notified, because the next batch may be answered before that.
    if (result.claimError) onClaimFailed(writeError(result.claimError));
    else if (claim) onDue(result.nextDue);
    await deliver(batch, result);
    onCommitted();
  };

  /**
   * Sends the writes of a batch one by one, after the batch could not be sent. Only the writes that
   * cannot be sent alone fail.
   */
  const flushEach = async (...[batch, claim, limited]: Parameters<typeof flush>): Promise<void> => {
    for (const each of batch) await flush([each], undefined, false);
    if (claim) await flush([], claim, limited);
  };

  /**
   * Starts the claimed tasks and notifies the callers. If there are many, this takes two turns of
   * the event loop. The first callers can then submit their next writes before the second turn.
   */
  const deliver = async (
    batch: readonly Pending[],
    { claimed, outcomes, begun, expired }: BatchResult,
  ): Promise<void> => {
    const parts = !diskBound && claimed.length + outcomes.length > resultsAtOnce ? 2 : 1;
    for (let part = 0; part < parts; part++) {
      const of = (length: number, end: number): number => Math.floor((length * end) / parts);
      const some = claimed.slice(of(claimed.length, part), of(claimed.length, part + 1));
      reserved -= some.length;
      onClaimed(
        part === 0 ? { claimed: some, begun, expired } : { claimed: some, begun: [], expired: [] },
      );
      for (let index = of(batch.length, part); index < of(batch.length, part + 1); index++)
        batch[index]?.settle(outcomes[index] ?? done);
      if (part + 1 === parts) return;
      // Scheduled before the turn that notifies the rest, so that the writes that follow from the
      // first part are sent by then.
      schedule();
      await nextTurn();
    }
  };

  return {
    /** Adds a write to the next batch. Resolves when it is durable. */
    submit<K extends Kind>(write: WriteOf<K> & { kind: K }): Promise<Written[K]> {
      if (closed)
        return Promise.reject(
          new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped'),
        );
      return new Promise((resolve, reject) => {
        const settle = (outcome: WriteOutcome): void => {
          if (outcome.ok) resolve(outcome.value as Written[K]);
          else reject(writeError(outcome.error));
        };
        pending.push({ write, weight: weightOf(write), settle, fail: reject });
        schedule();
      });
    },

    /** Claims tasks with the next commit, if slots are free. */
    wake(): void {
      if (closed) return;
      claimWanted = true;
      schedule();
    },

    /** Waits for the open batches. */
    async settled(): Promise<void> {
      await Promise.all(underWay);
    },

    /** Waits until no batch is open and no batch is scheduled. */
    async idle(): Promise<void> {
      while (underWay.size > 0 || scheduled) {
        await Promise.all(underWay);
        await nextTurn();
      }
    },

    /** Waits for all submitted writes, and refuses further ones. */
    async close(): Promise<void> {
      while (underWay.size > 0 || pending.length > 0) {
        await Promise.all(underWay);
        if (pending.length > 0) await nextTurn();
      }
      closed = true;
    },
  };
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
