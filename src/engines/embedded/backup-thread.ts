import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, TaskflowError } from '../../errors.js';
import { copyDatabase } from '../tables/schema/copy.js';
import { openDatabase, prepareConnection } from '../tables/schema/database.js';
import type { Copy, CopyFailure } from './backup.js';
import { createGuard, type Guarded } from './thread-guard.js';

/** Copies one database, and then ends the thread. */
async function main({ from, to, guard }: Guarded<Copy>): Promise<CopyFailure | undefined> {
  const { run, runAsync } = createGuard(guard);
  try {
    const database = await runAsync(() => openDatabase(from));
    run(() => {
      prepareConnection(database);
      copyDatabase(database, to);
      database.close();
    });
    return undefined;
  } catch (error) {
    return {
      code: error instanceof TaskflowError ? error.code : 'ENGINE_UNAVAILABLE',
      message: messageOf(error),
    };
  }
}

parentPort?.postMessage(await main(workerData));
