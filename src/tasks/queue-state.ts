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
  /** Id of the last task it created. */
  lastTaskId: string | null;
  paused: boolean;
  /** Null while it is not paused. */
  pause: Pause | null;
  /** `false` if the engine can pause queues but not this schedule. */
  pausable?: false;
  /**
   * How often a run was skipped: because the task of the previous run had not ended, or because it
   * was missed and `catchUp` is off. If a run is late, the times of the rule that passed meanwhile
   * are not counted.
   */
  skipped: number;
  /**
   * Since when no running process defines it, ISO 8601. Null while a process defines it, and for
   * one minute afterwards.
   */
  undefinedSince: string | null;
}

/** The state of a queue. */
export interface QueueState {
  name: string;
  paused: boolean;
  /** Null while it is not paused. */
  pause: Pause | null;
}
