import type { Logger } from '../../options.js';
import type { Reader } from '../tables/read/reader.js';
import type { Clock } from './clock.js';
import type { GroupCommit } from './group-commit.js';
import type { ProcessList } from './processes.js';
import type { Owners } from './storage-backend.js';
import type { Transitions } from './transitions.js';

interface RecoveryDeps {
  /** The id of this process. */
  owner: string;
  owners: Owners;
  reader: Reader;
  commits: Pick<GroupCommit, 'submit'>;
  processes: ProcessList;
  transitions: Transitions;
  clock: Clock;
  logger: Logger;
  /** Called when there may be tasks to run. */
  wake(): void;
}

/**
 * Takes over the tasks of dead processes:
 * 1. Every process checks the lock (`Owners`) of each process that is on the list or owns running
 *    tasks.
 * 2. If a process is dead, the write `recover` ends its running tasks or makes them pending again,
 *    and removes it from the list. If two processes do this, the second write changes nothing.
 * 3. The lock file of the dead process is removed, the observer is notified, and this process
 *    claims the tasks that are ready again.
 */
export class Recovery {
  readonly #deps: RecoveryDeps;

  constructor(deps: RecoveryDeps) {
    this.#deps = deps;
  }

  /**
   * Checks all processes on the list, and takes over from dead ones. Rejects if some process could
   * not be checked.
   */
  async look(): Promise<void> {
    const { owner: self, owners, reader, processes } = this.#deps;
    const known = reader.owners();
    processes.repair();
    const failures: unknown[] = [];
    for (const owner of known) {
      if (owner === self) continue;
      // If one process cannot be checked, the tasks of the others must not wait for it.
      const isAlive = await owners.isAlive(owner).catch((error: unknown) => {
        failures.push(error);
        return true;
      });
      if (!isAlive) await this.#takeOver(owner);
    }
    if (failures.length > 0) throw failures[0];
  }

  async #takeOver(owner: string): Promise<void> {
    const { owners, commits, transitions, clock, logger, wake } = this.#deps;
    const rows = await commits.submit({ kind: 'recover', owner, at: clock.now() });
    owners.forget(owner);
    if (rows.length > 0) logger.warn({ tasks: rows.length }, 'took over tasks of a dead process');
    transitions.ofRows(rows);
    wake();
  }
}
