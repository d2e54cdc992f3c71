/** Who paused a queue or a schedule, when, and why. */
export interface Pause {
  by: string;
  at: string;
  reason: string | null;
}

/** The state of a schedule. */
export interface ScheduleState {
  name: string;
  task: string;
  rule: string;
  /** ISO 8601. Null while it is paused, or if it never fires again. */
  nextRunAt: string | null;
  lastRunAt: string | null;
  /** Id of the last task that it created. */
  lastTaskId: string | null;
  paused: boolean;
  /** Null if it is not paused. */
  pause: Pause | null;
  /** `false` if the engine can pause queues but not this schedule. */
  pausable?: false;
  /**
   * How many runs were skipped, either because the task of the previous run had not ended, or
   * because the run was missed and `catchUp` is off. Of several runs that were missed in a row, at
   * most the first one counts.
   */
  skipped: number;
  /**
   * Since when no running process has defined it, ISO 8601. Null while a process defines it, and
   * for one minute afterwards.
   */
  undefinedSince: string | null;
}

/** The state of a queue. */
export interface QueueState {
  name: string;
  paused: boolean;
  /** Null if it is not paused. */
  pause: Pause | null;
}
