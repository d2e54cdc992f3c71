import { TaskflowError } from '../../errors.js';
import type { TaskStatus } from '../../tasks/types.js';
import type { BatchResult, Claim, Write, WriteOutcome, Written } from './write.js';
import type { WritePort } from './write-port.js';

interface Pending {
  write: Write;
  settle(outcome: WriteOutcome): void;
}

interface GroupCommitParts {
  port: WritePort;
  /** What this process could take now; asked for each batch. */
  claim(): Claim | undefined;
  /** States somebody listens to. */
  wanted(): readonly TaskStatus[];
  /** Before whoever waits for the commit is told. */
  onClaimed(result: Pick<BatchResult, 'claimed' | 'begun' | 'expired'>): void;
  /** After each commit; `nextDue` is told where a claim was made. */
  onCommitted(nextDue: number | null | undefined): void;
}

/**
 * Gathers what is written within one turn of the event loop into one commit, with the claims it makes possible: a hundred
 * callers share one sync of the disk. One batch is under way at a time; the next gathers meanwhile.
 */
export class GroupCommit {
  readonly #parts: GroupCommitParts;
  #pending: Pending[] = [];
  #wanted = false;
  #scheduled = false;
  #underWay: Promise<void> | undefined;
  #closed = false;

  constructor(parts: GroupCommitParts) {
    this.#parts = parts;
  }

  /** Resolves when the write is durable. */
  submit<K extends Write['kind']>(write: Extract<Write, { kind: K }>): Promise<Written[K]> {
    if (this.#closed) return Promise.reject(new TaskflowError('ENGINE_UNAVAILABLE', 'the task manager has stopped'));
    return new Promise((resolve, reject) => {
      const settle = (outcome: WriteOutcome): void => {
        if (outcome.ok) resolve(outcome.value as Written[K]);
        else reject(writeError(outcome.error));
      };
      this.#pending.push({ write, settle });
      this.#schedule();
    });
  }

  /** Looks for tasks to run, with the next commit. */
  poke(): void {
    if (this.#closed) return;
    this.#wanted = true;
    this.#schedule();
  }

  /** Waits for what is under way and gathered, and takes no more. */
  async close(): Promise<void> {
    while (this.#underWay || this.#pending.length > 0) {
      await this.#underWay;
      if (this.#pending.length > 0) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#closed = true;
  }

  #schedule(): void {
    if (this.#scheduled || this.#underWay) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#underWay = this.#flush().finally(() => {
        this.#underWay = undefined;
        if (this.#pending.length > 0 || this.#wanted) this.#schedule();
      });
    });
  }

  async #flush(): Promise<void> {
    const { port, claim: askClaim, wanted, onClaimed, onCommitted } = this.#parts;
    const batch = this.#pending;
    const claim = askClaim();
    this.#pending = [];
    this.#wanted = false;
    if (batch.length === 0 && !claim) return;
    try {
      const result = await port.apply({
        writes: batch.map(({ write }) => write),
        claim,
        at: Date.now(),
        wanted: wanted(),
      });
      const { outcomes, nextDue } = result;
      onClaimed(result);
      for (const [index, outcome] of outcomes.entries()) batch[index]?.settle(outcome ?? done);
      onCommitted(claim && nextDue);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      for (const { settle } of batch) settle({ ok: false, error: { message, errcode: undefined } });
    }
  }
}

const done: WriteOutcome = { ok: true, value: undefined };

function writeError({ message, errcode }: { message: string; errcode: number | undefined }): TaskflowError {
  // 13: SQLITE_FULL, 10: SQLITE_IOERR, 8: SQLITE_READONLY, 11: SQLITE_CORRUPT.
  const known: Record<number, string> = {
    13: 'the disk is full',
    10: 'the disk failed',
    8: 'the file may not be written',
    11: 'the file is damaged',
  };
  const why = errcode === undefined ? undefined : known[errcode];
  return new TaskflowError('ENGINE_UNAVAILABLE', `the task database could not be written: ${why ? `${why} (${message})` : message}`);
}
