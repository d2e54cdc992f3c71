/** A task to be stored. The process that enqueues the task chooses its id. */
export interface NewTask {
  /** UUIDv7. Its timestamp is `createdAt`. */
  readonly id: string;
  readonly name: string;
  /** JSON text of the list of arguments. */
  readonly args: string;
  readonly queue: string;
  readonly priority: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly source: 'manual' | 'scheduled';
  /** Unix milliseconds, as `runAt`. */
  readonly createdAt: number;
  readonly runAt: number;
  /**
   * The time from which the delay of the task counts, in Unix milliseconds. Absent if the caller
   * gave a time instead of a delay.
   */
  readonly waitsFrom?: number | undefined;
  /** Maximum number of attempts in one series: the first attempt and its retries. */
  readonly attempts: number;
  /** How often the task may run again after its process died. 0 means never. */
  readonly interrupts: number;
  /** Unix milliseconds. After this time, the task is neither started nor retried. */
  readonly deadlineAt?: number | undefined;
  /**
   * Until `until` (Unix milliseconds), no second task of this name is stored with this key, unless
   * the first one is cancelled.
   */
  readonly idempotency?: { readonly key: string; readonly until: number } | undefined;
  /** Name of the schedule that created it. */
  readonly schedule?: string | undefined;
  /** Id of the task that this one is a rerun of. */
  readonly rerunOf?: string | undefined;
  /**
   * Maximum number of running tasks of this name over all processes. Only for engines that apply
   * this limit when they store the task.
   */
  readonly concurrency?: number | undefined;
  /**
   * The delay before the first retry, if later delays are the same or double each time. For
   * programs that run the task without its definition.
   */
  readonly retryDelay?: { readonly milliseconds: number; readonly doubling: boolean } | undefined;
}

/** The fields that decide which queue stores a task. */
export type TaskRoute = Pick<NewTask, 'name' | 'queue' | 'priority' | 'concurrency'>;

/** A rule by which an engine enqueues a task repeatedly. */
export interface Schedule {
  readonly name: string;
  /** Name of the task. */
  readonly task: string;
  /**
   * The rule as text, such as `every 60` or `0 3 * * * Europe/Berlin`. If it changes, the engine
   * plans the next run again.
   */
  readonly rule: string;
  /**
   * Returns the first time after `from`, in Unix milliseconds, or `undefined` if there is none.
   * `last` is the previous run.
   */
  next(from: number, last?: number): number | undefined;
  /**
   * Milliseconds between two runs, if the rule is an interval. The next run is never further away
   * than this.
   */
  readonly interval?: number | undefined;
  /** Returns the task of one run. */
  prepare(): NewTask;
  /** Whether one run catches up if runs were missed by more than a minute. */
  readonly catchUp: boolean;
  /** Whether a run starts although the task of the previous run has not ended. */
  readonly overlap: boolean;
}

/** The source of times and ids for new tasks. */
export interface TaskClock {
  /** Unix milliseconds. */
  now(): number;
  newTaskId(): string;
}
