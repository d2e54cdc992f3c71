import { Background } from '../../background.js';
import type { Logger } from '../../options.js';
import type { TaskEngine } from '../../tasks/engine.js';
import { checkFile } from '../tables/schema/check-file.js';
import {
  type ConnectionClass,
  connectionClass,
  type Database,
  inMemory,
  openDatabase,
  prepareConnection,
  sqliteCode,
  unusable,
} from '../tables/schema/database.js';
import { copyFileOnThread } from './backup.js';
import { enqueueInTransaction } from './enqueue-in.js';
import { type FileWatch, watchFile } from './file-watch.js';
import type { Retention } from './maintenance.js';
import { memoryBackend } from './memory-backend.js';
import { ownerLocks } from './owner-lock.js';
import { filePromises } from './promises.js';
import type { OpenTables, StorageBackend } from './storage-backend.js';
import { createTableEngine } from './table-engine.js';
import { threadPort } from './write-port.js';

/** Options of the embedded engine. `TaskManager` has checked them. */
export interface EmbeddedOptions {
  /** Path of the file, or `:memory:`. */
  database: string;
  logger: Logger;
  /** Seconds between two checks for changes by other processes. */
  pollInterval: number;
  retention: Retention;
}

/** Milliseconds between two checks that the file still exists. */
const watchInterval = 1000;
/**
 * Maximum interval of a timer in milliseconds. With a longer one, setInterval would fire
 * continuously.
 */
const longestTimer = 2 ** 31 - 1;

/*
 * A file is opened twice. A separate thread writes it (`threadPort`), so that a slow disk never
 * blocks the app, and this thread reads it. `watchFile` detects that the file was moved or deleted,
 * `changePoll` detects commits, and `ownerLocks` detects dead processes. A database in memory has a
 * single connection and none of these parts.
 */

/**
 * Creates the engine of one file on one host: SQLite in WAL mode, with any number of processes.
 */
export function createEmbeddedEngine(options: EmbeddedOptions): TaskEngine {
  const storage = options.database === inMemory ? memoryBackend : fileBackend(options);
  return createTableEngine({ ...options, storage });
}

type FileOptions = Omit<EmbeddedOptions, 'retention'>;

function fileBackend(options: FileOptions): StorageBackend {
  const { database: path, pollInterval } = options;
  let Connection: ConnectionClass | undefined;
  let tables: OpenTables | undefined;
  return {
    engine: 'embedded',
    promises: filePromises(pollInterval),
    async open(changed) {
      Connection = await connectionClass();
      tables = await openFile(options, changed);
      return tables;
    },
    owners: ownerLocks(path),
    enqueueIn(connection, tasks) {
      tables?.check?.();
      return enqueueInTransaction({ path, Connection }, connection, tasks);
    },
    async backup({ check }, to) {
      check?.();
      await copyFileOnThread({ from: path, to });
    },
  };
}

async function openFile(
  { database: path, pollInterval, logger }: FileOptions,
  changed: () => void,
): Promise<OpenTables> {
  await checkFile(path);
  const port = await threadPort(path, logger);
  try {
    const watch = watchFile(path, logger);
    const database = await openDatabase(path);
    prepareConnection(database);
    const timers = [
      setInterval(
        changePoll({ database, watch, logger, changed }),
        Math.min(pollInterval * 1000, longestTimer),
      ),
      setInterval(watch.isPresent, watchInterval),
    ];
    for (const timer of timers) timer.unref();
    return {
      port: {
        ...port,
        // Not async: if a batch cannot be sent, this throws, so that only the writes that are too
        // large fail.
        apply(batch) {
          try {
            watch.check();
          } catch (error) {
            return Promise.reject(error);
          }
          return port.apply(batch);
        },
      },
      database,
      check: watch.check,
      async close() {
        for (const timer of timers) clearInterval(timer);
        database.close();
        await port.close();
      },
    };
  } catch (cause) {
    await port.close();
    throw unusable(path, 'it cannot be opened for reading', cause);
  }
}

interface ChangePoll {
  database: Database;
  watch: FileWatch;
  logger: Logger;
  changed(): void;
}

/**
 * Returns a function that reports commits of other connections, including the writing thread. That
 * function never throws, because a timer calls it.
 */
function changePoll({ database, watch, logger, changed }: ChangePoll): () => void {
  const looking = new Background(logger, 'looking for changes of the task database');
  let seen: unknown;
  return () => {
    if (!watch.isPresent()) return;
    try {
      const version = database.value('PRAGMA data_version');
      if (version !== seen) {
        seen = version;
        changed();
      }
      watch.readWorked();
      looking.worked();
    } catch (err) {
      // The next check looks for the same changes again.
      seen = undefined;
      if (sqliteCode(err) === undefined) looking.failed(err);
      else watch.readFailed(err);
    }
  };
}
