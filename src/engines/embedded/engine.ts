import { TaskflowError } from '../../errors.js';
import type { Logger } from '../../options.js';
import { TableEngine } from '../table-engine.js';
import type { HomeNews, OpenTables, TableHome } from '../table-home.js';
import { copyDatabase, copyFileOnThread } from './backup.js';
import { checkFile } from './check-file.js';
import { type ConnectionClass, connectionClass, inMemory, openDatabase, unusable } from './database.js';
import { enqueueInTransaction } from './enqueue-in.js';
import { prepareConnection } from './layout.js';
import { OwnerLocks } from './owner-lock.js';
import type { Retention } from './upkeep.js';
import { memoryPort, threadPort } from './write-port.js';

/** Options of the embedded engine; `TaskManager` has checked them. */
export interface EmbeddedOptions {
  /** Path of the file, or `:memory:`. */
  database: string;
  logger: Logger;
  /** Seconds between two looks for what other processes did. */
  pollInterval: number;
  retention: Retention;
}

/** The engine of one file and this host: SQLite in WAL mode, any number of processes. */
export class EmbeddedEngine extends TableEngine {
  constructor({ database, logger, pollInterval, retention }: EmbeddedOptions) {
    super({ home: database === inMemory ? memoryHome : fileHome(database, pollInterval), logger, retention });
  }
}

const memoryHome: TableHome = {
  engine: 'embedded',
  async open() {
    const { port, database } = await memoryPort();
    return { port, database, close: () => port.close() };
  },
  enqueueIn: () => {
    throw new TaskflowError('ENGINE_UNAVAILABLE', 'enqueueIn: the tasks are in memory, so no other connection can reach them');
  },
  async backup({ database }, path) {
    copyDatabase(database, path);
  },
};

function fileHome(path: string, pollInterval: number): TableHome {
  let Connection: ConnectionClass | undefined;
  return {
    engine: 'embedded',
    async open(news) {
      Connection = await connectionClass();
      return openFile(path, pollInterval, news);
    },
    owners: new OwnerLocks(path),
    enqueueIn: (connection, tasks) => enqueueInTransaction({ path, Connection }, connection, tasks),
    backup: (_tables, to) => copyFileOnThread(path, to),
  };
}

async function openFile(path: string, pollInterval: number, news: HomeNews): Promise<OpenTables> {
  await checkFile(path);
  const port = await threadPort(path);
  try {
    const database = await openDatabase(path);
    prepareConnection(database);
    let seen: unknown;
    // It changes whenever another connection has committed, the writing thread's too.
    const timer = setInterval(() => {
      const version = database.get('PRAGMA data_version')?.data_version;
      if (version === seen) return;
      seen = version;
      news.changed();
    }, pollInterval * 1000).unref();
    return {
      port,
      database,
      async close() {
        clearInterval(timer);
        database.close();
        await port.close();
      },
    };
  } catch (cause) {
    await port.close();
    throw unusable(path, 'it cannot be opened for reading', cause);
  }
}
