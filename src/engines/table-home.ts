import type { SharedStore } from '../store/shared-store.js';
import type { AppConnection, NewTask } from '../tasks/engine.js';
import type { Database } from './embedded/database.js';
import type { BatchResult, Claim } from './embedded/write.js';
import type { WritePort } from './embedded/write-port.js';

/** Tables that are open. */
export interface OpenTables {
  port: WritePort;
  /** For reading. */
  database: Database;
  /** Absent where whoever claims first has a task. */
  handOut?: HandOut;
  /** Absent where every process that has a schedule fires it, and the first one wins. */
  alarm?: Alarm;
  /** Throws where what could be read is not the present. */
  check?(): void;
  close(): Promise<void>;
}

/** What a home tells an engine, beside the answers to its writes. */
export interface HomeNews {
  /** Other processes have written. */
  changed(): void;
  /** A batch was written after all whose caller had been told that it failed. */
  late(result: BatchResult): void;
  /** There are tasks in hand, to be claimed. */
  inHand(): void;
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

/** Says which tasks this process may claim. */
interface HandOut {
  /** Looks for tasks of those names, for so many slots; {@link HomeNews.inHand} says when there are some. */
  seek(names: Claim['names'], free: () => number): void;
  /** The `seq` of tasks that may be claimed now, at most so many. */
  propose(limit: number): readonly number[];
}

/** Wakes one of the processes that have a schedule when it is due. */
export interface Alarm {
  /** Whether this process is to fire a schedule that is due now; another one may be. */
  take(schedule: string): Promise<boolean>;
}

/** Where the tables of tasks are kept, and how the processes that use them know of each other. */
export interface TableHome {
  /** What the engine is called. */
  readonly engine: string;
  open(news: HomeNews): Promise<OpenTables>;
  /** Milliseconds by which the clocks of the processes may differ. Default 1000: they are on one host, and have one clock. */
  readonly clockTolerance?: number;
  /** Absent where no other process can have the tables open. */
  readonly owners?: Owners | undefined;
  /** Where it keeps sessions; those of the tables when absent. */
  readonly store?: SharedStore;
  /** Absent if an app cannot write to the tables on a connection of its own. */
  enqueueIn?(connection: AppConnection, tasks: readonly NewTask[]): readonly string[];
  backup?(tables: OpenTables, path: string): Promise<void>;
  /** Lets go of what it holds besides its tables; they may never have been opened. */
  close?(): Promise<void>;
}
