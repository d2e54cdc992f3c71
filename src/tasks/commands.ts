import type { TaskFilter } from './engine-queries.js';
import type { TaskStatus, TaskSummary } from './types.js';

/** The actions on tasks, queues and schedules. */
export type Action = Command['action'];

/** The keys that give the target of each command. A command has exactly one of them. */
export const targets = {
  cancel: ['ids', 'filter'],
  delete: ['ids', 'filter'],
  retry: ['ids', 'filter'],
  run: ['ids', 'filter', 'schedule'],
  rerun: ['ids'],
  pause: ['queue', 'schedule'],
  resume: ['queue', 'schedule'],
  remove: ['schedule'],
} as const satisfies Record<Action, readonly string[]>;

/** All actions that an engine can support. */
export const allActions: ReadonlySet<Action> = new Set(Object.keys(targets) as Action[]);

/**
 * The tasks of a command as an engine takes it, by id or by filter. With a filter, the command
 * applies to the oldest tasks whose state allows the action, at most {@link maxByFilter} per call.
 * A filter without conditions matches every task, so callers must have required `'all'`.
 */
type Targets =
  | { ids: readonly string[]; filter?: undefined }
  | { filter: TaskFilter; ids?: undefined };

/** Maximum number of tasks that one command by filter changes. */
export const maxByFilter = 10_000;

/**
 * A command. `retry` runs a task again that ended without success. `rerun` creates a new task from
 * any ended one. `run` starts a pending task or a schedule now.
 */
export type Command =
  | ({ action: 'cancel' | 'delete' | 'run' } & Targets)
  /**
   * `spread`: the number of seconds over which the tasks come due, instead of all at once.
   */
  | ({ action: 'retry'; spread?: number | undefined } & Targets)
  /** `args` is the JSON text of the list of arguments. Default: the arguments of the task. */
  | { action: 'rerun'; ids: readonly string[]; args?: string | undefined }
  | { action: 'pause' | 'resume'; queue: string }
  | { action: 'pause' | 'resume' | 'run' | 'remove'; schedule: string };

/** The actor of a command, and its conditions. */
export interface CommandBy {
  /** Name of the user or program, 1 to 256 characters. Required. */
  actor: string;
  /** For the audit, at most 500 characters. */
  reason?: string | undefined;
  /**
   * If `true`, nothing is changed, and the answer says what the command would do. For commands on
   * tasks by id or filter, except `rerun`.
   */
  dryRun?: boolean;
  /**
   * The number of tasks that the command must find. If it finds another number, it changes nothing
   * and fails with COUNT_CHANGED.
   */
  expect?: number;
}

/**
 * The result of a command for one task: the task after the command, or for `rerun` the new task. A
 * deleted task is shown as it was before, and a dry run shows the task unchanged.
 */
export type CommandResult =
  | { id: string; ok: true; task: TaskSummary }
  | {
      id: string;
      ok: false;
      code: 'TASK_NOT_FOUND' | 'TASK_STATE_CONFLICT';
      status?: TaskStatus;
      /** The reason, if it is not the state alone. */
      detail?: string;
    };

/**
 * The result of a command for each id in the given order, or for a filter in the order of the
 * tasks.
 */
export interface Outcome {
  results: readonly CommandResult[];
  /**
   * For a command on a queue or a schedule: whether it exists. If not, nothing was changed, and
   * `control` of a TaskManager rejects with NOT_FOUND. For the engines of this package that run
   * tasks, every queue exists, because a queue can be paused before its first task.
   */
  known?: boolean;
  /** How many tasks the filter found, including those beyond {@link maxByFilter}. */
  found?: { count: number; relation: 'eq' | 'gte' };
  /** Set if the engine searched only the newest tasks. Older tasks may also match the filter. */
  scope?: 'window';
}
