/**
 * The settings of a function in this process. Durations are in seconds; null means no limit.
 */
export interface FunctionSettings {
  name: string;
  /** Whether this process has the handler. If not, it can only enqueue tasks of this function. */
  handled: boolean;
  queue: string;
  priority: number;
  tags: Readonly<Record<string, string>>;
  retries: number;
  delay: number;
  /** The factor by which each retry delay grows, or `'function'` if the app computes the delay. */
  backoff: number | 'function';
  maxDelay: number;
  jitter: number;
  timeout: number | null;
  deadline: number | null;
  concurrency: number | null;
  requeueOnInterrupt: boolean;
  maxInterrupts: number;
  cancelGrace: number;
}

/** The tasks and schedules that this process has defined. */
export interface Definitions {
  functions: readonly FunctionSettings[];
  /**
   * Returns the runs of a schedule after its next one, in Unix milliseconds. Empty if this process
   * does not define the schedule.
   */
  runsAfter(schedule: string, next: number, count: number): readonly number[];
}
