import { parentPort, workerData } from 'node:worker_threads';
import { copyDatabase } from './backup.js';
import { openDatabase } from './database.js';
import { prepareConnection } from './layout.js';
import { ThreadGuard } from './thread-guard.js';

/** Copies one database and ends. */
async function main({ from, to, guard: shared }: { from: string; to: string; guard: SharedArrayBuffer }): Promise<void> {
  const guard = new ThreadGuard(shared);
  try {
    const database = await guard.runAsync(() => openDatabase(from));
    guard.run(() => {
      prepareConnection(database);
      copyDatabase(database, to);
      database.close();
    });
    parentPort?.postMessage(undefined);
  } catch (error) {
    parentPort?.postMessage(error instanceof Error ? error.message : String(error));
  }
}

void main(workerData as { from: string; to: string; guard: SharedArrayBuffer });
