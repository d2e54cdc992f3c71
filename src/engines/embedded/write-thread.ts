import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../../errors.js';
import { claimedTask } from '../tables/schema/claimed-task.js';
import {
  busy,
  type Database,
  openDatabase,
  prepareConnection,
  sqliteCode,
} from '../tables/schema/database.js';
import { layOut } from '../tables/schema/layout.js';
import type { Batch } from '../tables/write/batch.js';
import { Writer } from '../tables/write/writer.js';
import { packed } from './batch-weight.js';
import { createGuard, type Guarded, type ThreadGuard } from './thread-guard.js';
import type { FromThread } from './write-port.js';

/**
 * The maximum time to wait for a file that another process is opening or closing, and the time
 * between two tries, in milliseconds.
 */
const lockedFor = { most: 10_000, step: 20 };

/**
 * Runs work again while the file is locked. When SQLite switches to WAL, some locks fail
 * immediately, whatever the busy timeout is.
 */
function whenFree(guard: ThreadGuard, work: () => void): void {
  const end = Date.now() + lockedFor.most;
  for (;;) {
    try {
      guard.run(work);
      return;
    } catch (error) {
      if (sqliteCode(error) !== busy || Date.now() > end) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lockedFor.step);
    }
  }
}

/**
 * Applies a batch and packs the result. JSON crosses to the other thread faster than a structured
 * clone, but it must fit into one string.
 */
function resultOf(writer: Writer, message: string | Batch): FromThread {
  try {
    const result = writer.apply(typeof message === 'string' ? JSON.parse(message) : message);
    const weight = result.claimed.reduce(
      (sum, row) => sum + claimedTask.unpack(row).args.length,
      0,
    );
    return { result: packed(result, weight) };
  } catch (error) {
    // Each batch needs an answer. Otherwise it would receive the answer to the next batch.
    return { unanswered: messageOf(error) };
  }
}

function close(database: Database): void {
  try {
    // The driver closes connections only during garbage collection, so the write-ahead log is
    // emptied here. If another process is reading, that process empties the log later, because a
    // stop must not wait for it.
    database.exec('PRAGMA busy_timeout = 100');
    database.get('PRAGMA wal_checkpoint(TRUNCATE)');
  } catch {
    // The data in the write-ahead log is durable. The next process that opens the database empties
    // the log.
  } finally {
    database.close();
  }
}

/** Runs the only thread of its process that writes the database. */
async function main(data: Guarded<{ path: string }>): Promise<void> {
  const { path } = data;
  const guard = createGuard(data.guard);
  const answer = (message: FromThread): void => parentPort?.postMessage(message);
  try {
    const database = await guard.runAsync(() => openDatabase(path));
    guard.run(() => prepareConnection(database));
    whenFree(guard, () => layOut(database, path));
    const writer = guard.run(() => new Writer(database));
    parentPort?.on('message', (message: string | Batch) => {
      if (message === 'close') {
        guard.run(() => close(database));
        parentPort?.close();
      } else answer(guard.run(() => resultOf(writer, message)));
    });
    answer({ ready: true });
  } catch (error) {
    answer({ failed: messageOf(error) });
    parentPort?.close();
  }
}

void main(workerData);
