import { parentPort, workerData } from 'node:worker_threads';
import { copyDatabase } from './backup.js';
import { openDatabase } from './database.js';
import { prepareConnection } from './layout.js';

/** Copies one database and ends. */
async function main({ from, to }: { from: string; to: string }): Promise<void> {
  try {
    const database = await openDatabase(from);
    prepareConnection(database);
    copyDatabase(database, to);
    database.close();
    parentPort?.postMessage(undefined);
  } catch (error) {
    parentPort?.postMessage(error instanceof Error ? error.message : String(error));
  }
}

void main(workerData as { from: string; to: string });
