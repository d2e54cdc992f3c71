import { parentPort, workerData } from 'node:worker_threads';
import { TaskflowError } from '../../errors.js';
import { copyDatabase } from '../tables/schema/copy.js';
import { openDatabase, prepareConnection } from '../tables/schema/database.js';
import type { CopyFailure } from './backup.js';
import { ThreadGuard } from './thread-guard.js';

/** Copies one database, and then ends the thread. */
async function main({
  from,
  to,
  guard: shared,
}: {
  from: string;
  to: string;
  guard: SharedArrayBuffer;
}): Promise<void> {
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
    const failure: CopyFailure = {
      code: error instanceof TaskflowError ? error.code : 'ENGINE_UNAVAILABLE',
      message: error instanceof Error ? error.message : String(error),
    };
    parentPort?.postMessage(failure);
  }
}

void main(workerData as { from: string; to: string; guard: SharedArrayBuffer });
