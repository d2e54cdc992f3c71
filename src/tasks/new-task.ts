/** A task to be stored. The process that enqueues it chooses its id. */
export interface NewTask {
  /** UUIDv7; its time is `createdAt`. */
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
   * Unix milliseconds from which `runAt` was counted, if the task was enqueued with a delay. Absent
   * if the caller gave a time.
   */
  readonly waitsFrom?: number | undefined;
  /** Attempts in one series: the first attempt and its retries. */
  readonly attempts: number;
  /** How often it may run again after its process died; 0 means never. */
  readonly interrupts: number;
  /** Unix milliseconds after which it is neither started nor tried again. */
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
   * How many tasks of this name may run at once over all processes, for an engine that decides this
   * when the task is stored.
   */
  readonly concurrency?: number | undefined;
  /**
   * The delay of the first retry, if each later delay is the same or twice as long. For programs
   * that run the task without its definition.
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
   * computes the next run again.
   */
  readonly rule: string;
  /**
   * Returns the first time after `from`, in Unix milliseconds, or `undefined` if there is none.
   * `last` is the previous run.
   */
  next(from: number, last?: number): number | undefined;
  /**
   * Milliseconds between two runs, if the rule is an interval. The next run is then never further
   * away.
   */
  readonly interval?: number | undefined;
  /** Returns the task of one run. */
  prepare(): NewTask;
  /** Whether one run is caught up if runs were missed by more than a minute. */
  readonly catchUp: boolean;
  /** Whether a run starts while the previous one has not ended. */
  readonly overlap: boolean;
}

/** The time and the ids of new tasks. */
export interface TaskClock {
  /** Unix milliseconds. */
  now(): number;
  newTaskId(): string;
}
