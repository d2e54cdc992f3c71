import type { Settings } from './task-options.js';

/** An option as JSON: `null` if it is not set, and `'function'` if it is a function. */
type Shown<V> = V extends undefined
  ? null
  : V extends (...args: never[]) => unknown
    ? 'function'
    : V;

/**
 * The options of a function in this process, with their defaults. Durations are in seconds; `null`
 * means that the option is not set.
 */
export type FunctionSettings = {
  name: string;
  /** Whether this process has the handler. If not, it can only enqueue tasks of this function. */
  handled: boolean;
} & { [K in keyof Settings]: Shown<Settings[K]> };

/** The tasks and schedules that this process has defined. */
export interface Definitions {
  functions: readonly FunctionSettings[];
  /**
   * Returns the runs of a schedule after its next one, in Unix milliseconds. Empty if this process
   * does not define the schedule.
   */
  runsAfter(schedule: string, next: number, count: number): readonly number[];
}
