import type { Changes, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine.js';
import type { TaskSummary } from '../../../tasks/types.js';
import type { Live } from '../../figures.js';

/**
 * What a process that reads knows of all jobs: a bounded window of the newest ones in memory, kept current by the change
 * notes. Workers have none. Each answer holds at least what had changed before it was asked for.
 */
export interface ReadModel {
  find(query: TaskQuery): Promise<TaskPage>;
  /** Resolves when the window holds all that it can hold, or cannot be filled. */
  filled(): Promise<void>;
  /** How many tasks a filter finds; `more` if it may be more, `limited` if only the window was looked at. */
  count(filter: TaskFilter): Promise<{ n: number; more: boolean; limited?: boolean }>;
  /** The tasks of some ids, those that there are. */
  summaries(ids: readonly string[]): Promise<readonly TaskSummary[]>;
  /** How many tasks of each name and queue are in each state, of those in the window. */
  live(): Promise<readonly Live[]>;
  watch(after: number, signal: AbortSignal): AsyncIterable<Changes>;
  /** The number of the last change, and the smallest that can be resumed from. */
  revs(): Promise<{ rev: number; oldestRev: number }>;
  close(): Promise<void>;
}
