import { Background } from '../../../background.js';
import { isReported } from '../../../errors.js';
import type { Logger } from '../../../options.js';
import type { Clock, Timer } from '../clock.js';
import type { GroupCommit } from '../group-commit.js';
import type { Slots } from './slots.js';

/** Milliseconds for which log lines are gathered before they are written. */
const gatherTime = 50;

interface OutputWriterDeps {
  /** The id of this process. */
  owner: string;
  /** The source of log lines and progress. */
  slots: Pick<Slots, 'takeLogs' | 'takeProgress' | 'keepLogs'>;
  commits: Pick<GroupCommit, 'submit'>;
  clock: Clock;
  logger: Logger;
}

/** Writes the log lines and the progress of all attempts together. */
export class OutputWriter {
  readonly #deps: OutputWriterDeps;
  readonly #logging: Background;
  readonly #progress: Background;
  #timer: Timer | undefined;
  #closed = false;

  constructor(deps: OutputWriterDeps) {
    this.#deps = deps;
    this.#logging = new Background(deps.logger, 'writing log lines of tasks');
    this.#progress = new Background(deps.logger, 'writing the progress of tasks');
  }

  /** Writes the gathered output after a few milliseconds. */
  writeSoon(): void {
    this.#timer ??= this.#deps.clock.after(gatherTime, () => {
      this.#timer = undefined;
      this.write();
    });
  }

  /** Writes the gathered output. */
  write(): void {
    const { owner, slots, commits } = this.#deps;
    const logs = slots.takeLogs();
    const entries = slots.takeProgress();
    if (logs.length > 0) {
      const keep = (err: unknown): void => {
        this.#logging.failed(err, { lines: logs.length });
        // A database that is unreachable will be back soon, so its lines are kept. A full disk may
        // stay full for long, so its lines are dropped.
        if (isReported(err) && !this.#closed) slots.keepLogs(logs);
      };
      commits.submit({ kind: 'log', logs }).then(() => this.#logging.worked(), keep);
    }
    if (entries.length > 0)
      this.#progress.run(async () => {
        await commits.submit({ kind: 'progress', owner, entries });
      });
  }

  /** Writes the remaining output, and stops. */
  close(): void {
    this.#closed = true;
    this.#timer?.clear();
    this.write();
  }
}
