import type { Marker } from '../keys.js';

/** What is written together with BullMQ's own step when an attempt ends. */
export interface EndNotes {
  /** Fields of the job's hash. */
  fields: Readonly<Record<string, string | number>>;
  /** The state in the note for processes that read. */
  state: 'waiting' | 'delayed' | 'completed' | 'failed';
  /** How the task ended, if BullMQ's state `failed` does not say it. */
  marker?: Marker | undefined;
  /** JSON text of the result, as it is to be stored. */
  result?: string | undefined;
  /** Called once the end is stored, with its time in Unix milliseconds. */
  stored?: ((at: number) => void) | undefined;
  /** Writes the log line of the attempt. Called once the end is stored. */
  log?: (() => void) | undefined;
  /** Called instead if the end is not stored because the attempt no longer has the job. `isGone`: the job no longer exists. */
  dropped?: ((isGone: boolean) => void) | undefined;
  /** Returns the end that is stored instead if the task was cancelled before this end was stored. */
  ifCancelled?: (() => EndNotes) | undefined;
  /** Called instead if this process stops before Redis has confirmed the end. */
  abandoned?: (() => void) | undefined;
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
  'the end of a task was not stored, because Redis did not confirm it before this process stopped; the task counts as one of a crashed worker';

/** Says why an attempt no longer has its task. */
export function whyLost(isGone: boolean): string {
  return isGone ? 'the task is no longer in Redis: it was deleted, or Redis lost its data' : 'another process took over the task';
}
