import type { AppConnection } from '../../tasks/engine.js';
import type { NewTask } from '../../tasks/new-task.js';
import type { EnginePromises } from '../../tasks/promises.js';
import type { Database } from '../tables/schema/database.js';
import type { Owners } from './owner-lock.js';
import type { WritePort } from './write-port.js';

/** The open tables. */
export interface OpenTables {
  port: WritePort;
  /** The connection for reading. */
  database: Database;
  /** Throws if the file is no longer the one that was opened. */
  check?(): void;
  close(): Promise<void>;
}

/** The storage of the tables, and how the processes that use it detect each other. */
export interface StorageBackend {
  /** The name of the engine. */
  readonly engine: string;
  readonly promises: EnginePromises;
  /** Opens the tables. `changed` is called when another connection has committed. */
  open(changed: () => void): Promise<OpenTables>;
  /** Absent if no other process can open the tables. */
  readonly owners?: Owners | undefined;
  /** Absent if an app cannot write to the tables on its own connection. */
  enqueueIn?(connection: AppConnection, tasks: readonly NewTask[]): readonly string[];
  backup?(tables: OpenTables, path: string): Promise<void>;
}
