import type { Owners } from './owner-lock.js';
import type { ProcessList } from './processes.js';
import type { Shared, Tables } from './shared.js';

interface RecoveryDeps extends Shared, Tables {
  owners: Owners;
  processes: ProcessList;
}

/**
 * Takes over the tasks of dead processes:
 * 1. Every process checks the lock (`Owners`) of each process that is on the list or owns running
 *    tasks.
 * 2. If a process is dead, the write `recover` ends its running tasks or makes them pending again,
 *    and removes it from the list. If two processes do this, the second write changes nothing.
 * 3. The lock file of the dead process is removed, the observer is notified, and this process
 *    claims the tasks that are ready again.
 *
 * Rejects if some process could not be checked.
 */
export async function takeOver({
  owner: self,
  owners,
  reader,
  commits,
  processes,
  transitions,
  clock,
  logger,
  wake,
}: RecoveryDeps): Promise<void> {
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
    if (isAlive) continue;
    const rows = await commits.submit({ kind: 'recover', owner, at: clock.now() });
    owners.forget(owner);
    if (rows.length > 0) logger.warn({ tasks: rows.length }, 'took over tasks of a dead process');
    transitions.ofRows(rows);
    wake();
  }
  if (failures.length > 0) throw failures[0];
}
