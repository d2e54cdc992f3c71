import { isReported } from '../../errors.js';
import type { Logger } from '../../options.js';
import { otherApp } from '../tables/read/other-apps.js';
import type { Database } from '../tables/schema/database.js';
import type { WorkerRow } from '../this-process.js';
import type { GroupCommit } from './group-commit.js';

interface ProcessListDeps {
  database: Database;
  commits: Pick<GroupCommit, 'submit'>;
  logger: Logger;
}

/**
 * Maintains the entry of this process in the list of processes that have the tables open. Running
 * tasks does not depend on the list.
 */
export class ProcessList {
  readonly #deps: ProcessListDeps;
  #self: WorkerRow | undefined;
  /** Whether writing the last entry failed. */
  #failed = false;

  constructor(deps: ProcessListDeps) {
    this.#deps = deps;
  }

  /**
   * Adds this process. Warns if another app uses the same file by accident: neither app runs the
   * other's tasks, but each shows and deletes them.
   */
  add(self: WorkerRow): void {
    this.#self = self;
    this.#write(self);
    const { database, logger } = this.#deps;
    const other = otherApp(database, self);
    if (other)
      logger.warn(
        { app: self.app, other },
        'another app uses the same task database; give each app a file of its own',
      );
  }

  /** Changes the entry of this process, if it is on the list. */
  update(changes: Partial<WorkerRow>): void {
    if (!this.#self) return;
    this.#self = { ...this.#self, ...changes };
    this.#write(this.#self);
  }

  /**
   * Writes the entry again if another process treated this one as dead, or if the last write
   * failed. Without a complete entry, other processes could remove a schedule that this process
   * defines.
   */
  repair(): void {
    if (this.#self && (this.#failed || !this.#isListed(this.#self.owner))) this.#write(this.#self);
  }

  #isListed(owner: string): boolean {
    return this.#deps.database.get('SELECT 1 FROM worker WHERE owner = ?', owner) !== undefined;
  }

  /** Removes a process from the list. */
  remove(owner: string): void {
    this.#write({ owner });
  }

  #write(worker: { owner: string } | WorkerRow): void {
    this.#failed = false;
    this.#deps.commits.submit({ kind: 'register', worker }).catch((err) => {
      this.#failed = true;
      if (!isReported(err))
        this.#deps.logger.error({ err }, 'the list of processes could not be written');
    });
  }
}
