import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import type { SharedStore } from '../store/shared-store.js';
import type { Action, Command, CommandBy, Outcome } from './commands.js';
import type { Aggregates, LogQuery, TaskPage, TaskQuery } from './engine-queries.js';
import type { NewTask, Schedule, TaskClock } from './new-task.js';
import type { EnginePromises } from './promises.js';
import type { QueueState, ScheduleState } from './queue-state.js';
import type { TaskRunner } from './task-runner.js';
import type { LogLine, TaskDetail, TaskStatus, TaskSummary } from './types.js';

/** Receives the transitions that this process made, after they are stored. */
export interface TransitionObserver {
  wants(status: TaskStatus): boolean;
  tell(task: TaskSummary): void;
}

/** The changes after a change number: the current state of each changed task, once per task. */
export interface Changes {
  /** The change number up to which these changes are complete. */
  rev: number;
  /** The newest 500 changed tasks. */
  upserts: readonly TaskSummary[];
  /** Ids of deleted tasks. */
  removed: readonly string[];
  /** The change number of each entry, so that a reader can skip those it has seen. */
  revs: { upserts: readonly number[]; removed: readonly number[] };
  /** How many changed tasks are not among `upserts`. */
  dropped: number;
}

/** The state of an engine. */
export interface EngineDescription {
  engine: string;
  /** The number of the last change. */
  rev: number;
  /** The oldest change number from which a reader can resume. */
  oldestRev: number;
  queues: readonly QueueState[];
  schedules: readonly ScheduleState[];
}

/** The reading port of an engine. The cost of a call does not grow with the history. */
export interface EngineReader {
  find(query: TaskQuery): Promise<TaskPage>;
  /** `logLines`: how many of the newest log lines to include. Default 10,000. */
  get(id: string, options?: { logLines?: number | undefined }): Promise<TaskDetail | undefined>;
  logs(id: string, query: LogQuery): Promise<readonly LogLine[]>;
  aggregate<K extends keyof Aggregates>(
    kind: K,
    ...query: Aggregates[K]['query']
  ): Promise<Aggregates[K]['answer']>;
  /** Returns the state of the engine, its queues and its schedules. */
  describe(): Promise<EngineDescription>;
  /**
   * Yields the changes after a change number, immediately if there are any. Ends when the engine
   * stops or the signal aborts.
   */
  watch(after: number, signal: AbortSignal): AsyncIterable<Changes>;
}

/** The control port of an engine. */
export interface EngineControl {
  /** The supported actions. The API answers 501 for any other. */
  readonly can: ReadonlySet<Action>;
  control(command: Command, by: CommandBy): Promise<Outcome>;
}

/**
 * A connection of the app's own to the file of the tasks: a `DatabaseSync` of
 * `koa-taskflow/sqlite`.
 */
export type AppConnection = DatabaseSyncInstance;

/** The description of the app that an engine needs. */
export interface AppDescription {
  /** Names of the tasks that the app defines. */
  tasks: readonly string[];
}

/** Stores tasks and runs them. */
export interface TaskEngine extends EngineReader, EngineControl {
  /** The guarantees in which the engine differs from other engines. */
  readonly promises: EnginePromises;
  /** Runs tasks with the runner. Without one, this process only enqueues and reads. */
  start(runner: TaskRunner | undefined, app?: AppDescription): Promise<void>;
  /**
   * Stops the engine. Waits up to `timeout` seconds for running attempts, then returns the rest to
   * the queue.
   */
  stop(options: { timeout: number }): Promise<void>;
  /**
   * Stores all of the tasks or none, and resolves when they are durable. Resolves to the id of each
   * task, or of the task that already holds its idempotency key.
   */
  enqueue(tasks: readonly NewTask[]): Promise<readonly string[]>;
  /**
   * Stores tasks within a transaction of the app on the same database. Absent if the engine has no
   * such database.
   */
  enqueueIn?(connection: AppConnection, tasks: readonly NewTask[]): readonly string[];
  /** The clock and ids of the engine, if it does not use those of the process. */
  readonly clock?: TaskClock;
  /** Adds a schedule. It fires while the engine is started with a runner. */
  schedule(schedule: Schedule): void;
  /** Copies the database to a path while it is in use. Absent if the engine has no database. */
  backup?(path: string): Promise<void>;
  observe(observer: TransitionObserver): void;
  readonly store: SharedStore;
}
