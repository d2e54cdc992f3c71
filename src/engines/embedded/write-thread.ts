import { parentPort, workerData } from 'node:worker_threads';
import {
  type Database,
  openDatabase,
  prepareConnection,
  sqliteCode,
} from '../tables/schema/database.js';
import { layOut } from '../tables/schema/layout.js';
import { argsLength } from '../tables/schema/rows.js';
import type { Batch } from '../tables/write/batch.js';
import { Writer } from '../tables/write/writer.js';
import { packed } from './batch-weight.js';
import { ThreadGuard } from './thread-guard.js';
import type { FromThread } from './write-port.js';

/**
 * The longest wait for a file that another process is opening or closing, and the time between two
 * tries, in milliseconds.
 */
const lockedFor = { most: 10_000, step: 20 };

/** Some locks of a switch to WAL are refused at once, whatever the time to wait that was set. */
function whenFree(guard: ThreadGuard, work: () => void): void {
  const end = Date.now() + lockedFor.most;
  for (;;) {
    try {
      guard.run(work);
      return;
    } catch (error) {
      // 5: SQLITE_BUSY.
      if (sqliteCode(error) !== 5 || Date.now() > end) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lockedFor.step);
    }
  }
}

/** JSON is sent faster than a structured clone of the same value, but must fit into one string. */
function resultOf(writer: Writer, message: string | Batch): FromThread {
  try {
    const result = writer.apply(
      typeof message === 'string' ? (JSON.parse(message) as Batch) : message,
    );
    return {
      result: packed(
        result,
        result.claimed.reduce((sum, row) => sum + argsLength(row), 0),
      ),
    };
  } catch (error) {
    // The next batch must not receive the answer that this batch waits for.
    return { unanswered: error instanceof Error ? error.message : String(error) };
  }
}

function close(database: Database): void {
  try {
    // The driver closes connections only when they are garbage-collected, so the write-ahead log is
    // emptied here. If another process reads now, that process empties the log later: a stop does
    // not wait for it.
    database.exec('PRAGMA busy_timeout = 100');
    database.get('PRAGMA wal_checkpoint(TRUNCATE)');
  } catch {
    // Everything in the write-ahead log is stored. The next connection that is opened empties it.
  } finally {
    database.close();
  }
}

/** The thread that alone writes the database of its process. */
async function main({
  path,
  guard: shared,
}: {
  path: string;
  guard: SharedArrayBuffer;
}): Promise<void> {
  const guard = new ThreadGuard(shared);
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
    answer({ failed: error instanceof Error ? error.message : String(error) });
    parentPort?.close();
  }
}

void main(workerData as { path: string; guard: SharedArrayBuffer });
