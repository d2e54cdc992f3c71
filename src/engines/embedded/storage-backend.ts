import type { AppConnection } from '../../tasks/engine.js';
import type { NewTask } from '../../tasks/new-task.js';
import type { EnginePromises } from '../../tasks/promises.js';
import type { Database } from '../tables/schema/database.js';
import type { WritePort } from './write-port.js';

/** Tables that are open. */
export interface OpenTables {
  port: WritePort;
  /** For reading. */
  database: Database;
  /** Throws if the file is not the one that was opened any more. */
  check?(): void;
  close(): Promise<void>;
}

/** Tells living processes from dead ones. */
export interface Owners {
  /** Begins to be seen as alive. */
  take(owner: string): Promise<void>;
  isAlive(owner: string): Promise<boolean>;
  /** Says that the event loop of this process turns. */
  sign(owner: string): void | Promise<void>;
  /** Seconds since a process last said so. */
  lastSign(owner: string, now: number): number;
  /** Removes what a dead process left. */
  forget(owner: string): void;
  release(owner: string): Promise<void> | void;
}

/** Where the tables of tasks are kept, and how the processes that use them know of each other. */
export interface StorageBackend {
  /** What the engine is called. */
  readonly engine: string;
  readonly promises: EnginePromises;
  /** Opens the tables. `changed` is called when other processes have written. */
  open(changed: () => void): Promise<OpenTables>;
  /** Absent if no other process can have the tables open. */
  readonly owners?: Owners | undefined;
  /** Absent if an app cannot write to the tables on a connection of its own. */
  enqueueIn?(connection: AppConnection, tasks: readonly NewTask[]): readonly string[];
  backup?(tables: OpenTables, path: string): Promise<void>;
}
