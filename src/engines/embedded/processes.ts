import { isReported } from '../../errors.js';
import type { Logger } from '../../options.js';
import { otherApp } from '../tables/read/other-apps.js';
import type { Database } from '../tables/schema/database.js';
import type { WorkerRow } from '../this-process.js';
import type { GroupCommit } from './group-commit.js';

interface ProcessListDeps {
  database: Database;
  commits: GroupCommit;
  logger: Logger;
}

/** The entry of this process in the list of processes. */
export type ProcessList = ReturnType<typeof createProcessList>;

/**
 * Maintains the entry of this process in the list of processes that have the tables open. Running
 * tasks does not depend on the list.
 */
export function createProcessList({ database, commits, logger }: ProcessListDeps) {
  let self: WorkerRow | undefined;
  /** Whether writing the last entry failed. */
  let hasFailed = false;
  const write = (worker: { owner: string } | WorkerRow): void => {
    hasFailed = false;
    commits.submit({ kind: 'register', worker }).catch((err) => {
      hasFailed = true;
      if (!isReported(err)) logger.error({ err }, 'the list of processes could not be written');
    });
  };
  return {
    /**
     * Adds this process. Warns if another app uses the same file by accident: neither app runs the
     * other's tasks, but each shows and deletes them.
     */
    add(worker: WorkerRow): void {
      self = worker;
      write(worker);
      const other = otherApp(database, worker);
      if (other)
        logger.warn(
          { app: worker.app, other },
          'another app uses the same task database; give each app a file of its own',
        );
    },

    /** Changes the entry of this process, if it is on the list. */
    update(changes: Partial<WorkerRow>): void {
      if (!self) return;
      self = { ...self, ...changes };
      write(self);
    },

    /**
     * Writes the entry again if another process treated this one as dead, or if the last write
     * failed. Without a complete entry, other processes could remove a schedule that this process
     * defines.
     */
    repair(): void {
      const isListed = (owner: string): boolean =>
        database.get('SELECT 1 FROM worker WHERE owner = ?', owner) !== undefined;
      if (self && (hasFailed || !isListed(self.owner))) write(self);
    },

    /** Removes a process from the list. */
    remove(owner: string): void {
      write({ owner });
    },
  };
}
