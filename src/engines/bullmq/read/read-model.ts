import type { Changes, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine.js';
import type { TaskSummary } from '../../../tasks/types.js';
import type { Live } from '../../figures.js';

/**
 * What a process that reads tasks knows of all jobs: a bounded window of the newest ones in memory,
 * kept current by the change notes. A process that only runs tasks has no window. Each answer
 * includes every change that was made before the call.
 */
export interface ReadModel {
  find(query: TaskQuery): Promise<TaskPage>;
  /** Resolves when the window holds as much as it can, or cannot be filled. */
  filled(): Promise<void>;
  /**
   * Counts the tasks that match a filter. `more`: there may be more. `limited`: only the window was
   * searched.
   */
  count(filter: TaskFilter): Promise<{ n: number; more: boolean; limited?: boolean }>;
  /** Returns the tasks with some ids. Ids without a task are left out. */
  summaries(ids: readonly string[]): Promise<readonly TaskSummary[]>;
  /** Counts the tasks of the window by name, queue and state. */
  live(): Promise<readonly Live[]>;
  watch(after: number, signal: AbortSignal): AsyncIterable<Changes>;
  /**
   * Returns the revision of the last change, and the oldest revision that a stream can resume from.
   */
  revs(): Promise<{ rev: number; oldestRev: number }>;
  close(): Promise<void>;
}
