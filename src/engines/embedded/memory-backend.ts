import { TaskflowError } from '../../errors.js';
import { copyDatabase } from '../tables/schema/copy.js';
import { memoryPromises } from './promises.js';
import type { StorageBackend } from './storage-backend.js';
import { memoryPort } from './write-port.js';

/** Keeps the tables in the memory of this process. */
export const memoryBackend: StorageBackend = {
  engine: 'embedded',
  promises: memoryPromises,
  async open() {
    const { port, database } = await memoryPort();
    return { port, database, close: () => port.close() };
  },
  enqueueIn: () => {
    throw new TaskflowError(
      'ENGINE_UNAVAILABLE',
      'enqueueIn: the tasks are in memory, so no other connection can reach them',
    );
  },
  async backup({ database }, path) {
    copyDatabase(database, path);
  },
};
