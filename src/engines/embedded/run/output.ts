import { Background } from '../../../background.js';
import { isReported } from '../../../errors.js';
import type { Timer } from '../clock.js';
import type { GroupCommit } from '../group-commit.js';
import type { Shared } from '../shared.js';
import type { Slots } from './slots.js';

/** Milliseconds for which log lines are gathered before they are written. */
const gatherTime = 50;

interface OutputWriterDeps extends Shared {
  commits: GroupCommit;
  /** The source of log lines and progress. */
  slots: Slots;
}

/** Creates the part that writes the log lines and the progress of all attempts together. */
export function createOutputWriter({ owner, slots, commits, clock, logger }: OutputWriterDeps) {
  const logging = new Background(logger, 'writing log lines of tasks');
  const progress = new Background(logger, 'writing the progress of tasks');
  let timer: Timer | undefined;
  let closed = false;
  /** Writes the gathered output. */
  const write = (): void => {
    const logs = slots.takeLogs();
    const entries = slots.takeProgress();
    if (logs.length > 0) {
      const keep = (err: unknown): void => {
        logging.failed(err, { lines: logs.length });
        // A database that is unreachable will be back soon, so its lines are kept. A full disk may
        // stay full for long, so its lines are dropped.
        if (isReported(err) && !closed) slots.keepLogs(logs);
      };
      commits.submit({ kind: 'log', logs }).then(() => logging.worked(), keep);
    }
    if (entries.length > 0)
      progress.run(() => commits.submit({ kind: 'progress', owner, entries }));
  };
  return {
    write,

    /** Writes the gathered output after a few milliseconds. */
    writeSoon(): void {
      timer ??= clock.after(gatherTime, () => {
        timer = undefined;
        write();
      });
    },

    /** Writes the remaining output, and stops. */
    close(): void {
      closed = true;
      timer?.clear();
      write();
    },
  };
}
