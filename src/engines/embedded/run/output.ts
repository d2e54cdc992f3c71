import { Background } from '../../../background.js';
import { isReported } from '../../../errors.js';
import type { Logger } from '../../../options.js';
import type { Clock, Timer } from '../clock.js';
import type { GroupCommit } from '../group-commit.js';
import type { Slots } from './slots.js';

/** Milliseconds that log lines are gathered before they are written. */
const gatherTime = 50;

interface OutputWriterParts {
  /** This process. */
  owner: string;
  /** The attempts that log lines and progress come from. */
  slots: Pick<Slots, 'takeLogs' | 'takeProgress' | 'keepLogs'>;
  commits: Pick<GroupCommit, 'submit'>;
  clock: Clock;
  logger: Logger;
}

/** Writes the log lines and the progress of attempts, those of all attempts together. */
export class OutputWriter {
  readonly #parts: OutputWriterParts;
  readonly #logging: Background;
  readonly #progress: Background;
  #timer: Timer | undefined;
  #closed = false;

  constructor(parts: OutputWriterParts) {
    this.#parts = parts;
    this.#logging = new Background(parts.logger, 'writing log lines of tasks');
    this.#progress = new Background(parts.logger, 'writing the progress of tasks');
  }

  /** Writes within some milliseconds what attempts have logged. */
  writeSoon(): void {
    this.#timer ??= this.#parts.clock.after(gatherTime, () => {
      this.#timer = undefined;
      this.write();
    });
  }

  /** Writes what attempts have logged. */
  write(): void {
    const { owner, slots, commits } = this.#parts;
    const logs = slots.takeLogs();
    const entries = slots.takeProgress();
    if (logs.length > 0) {
      const keep = (err: unknown): void => {
        this.#logging.failed(err, { lines: logs.length });
        // A database that is unreachable comes back; a disk that is full takes no more lines for
        // some time.
        if (isReported(err) && !this.#closed) slots.keepLogs(logs);
      };
      commits.submit<'log'>({ kind: 'log', logs }).then(() => this.#logging.worked(), keep);
    }
    if (entries.length > 0)
      this.#progress.run(async () => {
        await commits.submit<'progress'>({ kind: 'progress', owner, entries });
      });
  }

  /** Writes the rest, and nothing after that. */
  close(): void {
    this.#closed = true;
    this.#timer?.clear();
    this.write();
  }
}
