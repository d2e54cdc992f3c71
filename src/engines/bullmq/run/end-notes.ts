import type { StoredEnd, StoredError } from '../../../tasks/task-runner.js';
import type { TaskStatus } from '../../../tasks/types.js';
import type { Marker } from '../keys.js';

/** How an attempt ends: what is written together with BullMQ's own step. */
export interface EndNotes {
  /** The state of the task after the attempt. */
  status: TaskStatus;
  /** How the log line of the attempt describes the end. */
  loggedAs: StoredEnd;
  /** The task's error, if it has one. */
  error?: StoredError | undefined;
  /** Fields of the job's hash. */
  fields: Readonly<Record<string, string | number>>;
  /** The state in the note for processes that read. */
  state: 'waiting' | 'delayed' | 'completed' | 'failed';
  /** How the task ended, if BullMQ's state `failed` does not say it. */
  marker?: Marker | undefined;
  /** JSON text of the result, as it is to be stored. */
  result?: string | undefined;
  /** Gets the outcome. */
  listener?: EndListener | undefined;
}

/** Gets the outcome of storing an end. */
export interface EndListener {
  /** Called once the end is stored, with its time in Unix milliseconds. */
  stored(end: EndNotes, at: number): void;
  /**
   * Called instead if the end is not stored because the attempt no longer has the job. `isGone`:
   * the job no longer exists.
   */
  dropped?(isGone: boolean): void;
  /** Called instead if this process stops before Redis has confirmed the end. */
  abandoned?(): void;
  /**
   * Returns the end that is stored instead if the task was cancelled before this end was stored.
   */
  cancelled(): EndNotes;
}

/** A step of BullMQ that ends an attempt, with its arguments. */
export interface EndStep {
  command: 'moveToFinished' | 'moveToDelayed' | 'retryJob';
  jobId: string;
  /** The token that the lock holds. */
  token: string;
  /** Stored with the end, so that a repeated step finds it. */
  mark: string;
  args: unknown[];
  /** Unix milliseconds. */
  at: number;
}

/**
 * What a refused step means: its end is stored already, it may be repeated, another process has the
 * job, or the job is gone. A token: the job is to be cancelled, and its lock holds this token.
 */
export type Verdict = 'stored' | 'again' | 'lost' | 'gone' | { token: string };

/** What BullMQ's scripts answer to an attempt that does not have its job. */
export const refusals = { noJob: -1, noLock: -2, notRunning: -3, otherLock: -6 };

/** The log message of an end that Redis did not confirm. */
export const abandoned =
  'the end of a task was not stored, because Redis did not confirm it before this process ' +
  'stopped; the task counts as one of a crashed worker';

/** Says why an attempt no longer has its task. */
export function whyLost(isGone: boolean): string {
  return isGone
    ? 'the task is no longer in Redis: it was deleted, or Redis lost its data'
    : 'another process took over the task';
}
