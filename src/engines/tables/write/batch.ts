import type { CommandResult } from '../../../tasks/commands.js';
import type { AttemptResult, NewLogLine, StoredEnd } from '../../../tasks/task-runner.js';
import type { TaskStatus } from '../../../tasks/types.js';
import type { WorkerRow } from '../../this-process.js';
import type { Delay } from '../read/reader.js';
import type { ClaimedRow } from '../schema/claimed-task.js';
import { stateOf } from '../schema/states.js';
import type { SummaryRow } from '../schema/summaries.js';
import type { PackedTask } from './packed-tasks.js';

/** A log line and the task it belongs to. */
export interface LogEntry extends NewLogLine {
  /** Row id of the task. */
  task: number;
  attempt: number;
  late: boolean;
}

/** The progress of an attempt. */
export interface ProgressEntry {
  task: number;
  attempt: number;
  value: number;
  text: string | null;
}

/**
 * An attempt and its owner. This is fencing: the write has no effect if another process has taken
 * over the task in the meantime.
 */
interface Held {
  rowid: number;
  owner: string;
  attempt: number;
  at: number;
}

/** The actor and the reason of a pause. */
interface By {
  by: string;
  reason?: string | undefined;
  at: number;
}

/** A command to tasks, by id. */
export interface OnTasks {
  ids: readonly string[];
  at: number;
}

/**
 * All changes to the database, by kind. A write consists of JSON values, so that it can be sent to
 * the writing thread.
 */
interface Writes {
  enqueue: { tasks: readonly PackedTask[] };
  /**
   * `again`: the write was submitted before, and that submission may have been stored although it
   * was reported as failed.
   */
  finish: {
    result: AttemptResult;
    logs?: readonly LogEntry[];
    progress?: ProgressEntry;
    again?: boolean;
  } & Held;
  /** Ends a cancelled attempt whose handler did not end in time. */
  abandon: Held;
  log: { logs: readonly LogEntry[] };
  progress: { owner: string; entries: readonly ProgressEntry[] };
  /** `delays`: the delay of each task in milliseconds. */
  retry: OnTasks & { delays?: readonly number[] };
  cancel: OnTasks;
  delete: OnTasks;
  run: OnTasks;
  /** `newIds`: the id of each new task. */
  rerun: OnTasks & { newIds: readonly string[]; args: string | undefined };
  /** Takes over the tasks of a process that has died or is about to stop. */
  recover: { owner: string; at: number };
  /**
   * Returns tasks to the queue after the answer to their claim was lost. The process knows only the
   * attempts in `held`.
   */
  handBack: {
    owner: string;
    held: readonly (readonly [rowid: number, attempt: number])[];
    at: number;
  };
  /** Adds a process to the list, or removes it if only its owner id is given. */
  register: { worker: { owner: string } | WorkerRow };
  pauseQueue: { queue: string; paused: boolean } & By;
  /** `template`: the task from which each run is created. */
  plan: { name: string; task: string; rule: string; template: PackedTask; nextAt: number | null };
  /** Moves the next run from `dueAt` to `nextAt`. */
  restartInterval: { name: string; rule: string; dueAt: number; nextAt: number };
  restartDelays: { delays: readonly Delay[]; at: number };
  /** `skip`: the run was missed and is not caught up. */
  fire: {
    name: string;
    dueAt: number;
    nextAt: number | null;
    overlap: boolean;
    skip: boolean;
    newId: string;
    at: number;
  };
  runSchedule: { name: string; newId: string; at: number };
  pauseSchedule: { name: string; paused: boolean } & By;
  removeSchedule: { name: string; at: number };
  /**
   * Deletes tasks that ended before a time, and the oldest ended tasks if there are more than
   * `keep`.
   */
  prune: { endedBefore: number | null; keep: number | null; limit: number };
  makeSearchable: { limit: number };
  /**
   * Drops rollups of minutes and of hours that are older than these times, in Unix milliseconds.
   */
  dropStatistics: { minutesBefore: number; hoursBefore: number; limit: number };
  /** Drops unneeded partitions among those with an id after this one. */
  dropPartitions: { after: number; limit: number };
  dropExpired: { limit: number; at: number };
  set: { key: string; value: string; expiresAt: number; at: number };
  increment: { key: string; expiresAt: number; at: number };
  /** `before` and `value` are JSON text, or null for no value. */
  replace: {
    key: string;
    before: string | null;
    value: string | null;
    expiresAt: number;
    at: number;
  };
  append: { log: string; entry: string; expiresAt: number; at: number };
}

/** The name of a kind of write. */
export type Kind = keyof Writes;

/** A write of any kind. */
export type Write = { [K in Kind]: { kind: K } & Writes[K] }[Kind];

/** The write of one kind. */
export type WriteOf<K extends Kind> = Extract<Write, { kind: K }>;

/** The answer to each kind of write. */
export interface Written {
  /**
   * Ids of the stored tasks. If an idempotency key was taken, the id of the task that holds it.
   * `undefined` if no key was taken.
   */
  enqueue: readonly string[] | undefined;
  /**
   * What was stored: `undefined` for the given result, `cancelled` if a cancellation was requested,
   * `lost` for nothing, because another process owns the task. Instead of the first two it is the
   * row of the task, if this process observes the new state.
   */
  finish: SummaryRow | 'cancelled' | 'lost' | undefined;
  abandon: SummaryRow | 'cancelled' | 'lost';
  log: undefined;
  progress: undefined;
  retry: readonly CommandResult[];
  cancel: readonly CommandResult[];
  delete: readonly CommandResult[];
  run: readonly CommandResult[];
  rerun: readonly CommandResult[];
  recover: readonly SummaryRow[];
  handBack: undefined;
  register: undefined;
  pauseQueue: boolean;
  plan: undefined;
  restartInterval: undefined;
  restartDelays: undefined;
  /** The row of the created task, if one was created. */
  fire: SummaryRow | undefined;
  /** The row of the created task. `undefined` if the schedule does not exist. */
  runSchedule: SummaryRow | undefined;
  /** Whether the schedule exists. */
  pauseSchedule: boolean;
  removeSchedule: 'removed' | 'defined' | 'unknown';
  /** Number of deleted tasks. */
  prune: number;
  /** Number of failures that were indexed. */
  makeSearchable: number;
  /** Number of dropped rollups. */
  dropStatistics: number;
  /** The last id that was checked, or null if no partition comes after it. */
  dropPartitions: number | null;
  /** Number of dropped keys and values. */
  dropExpired: number;
  set: undefined;
  increment: number;
  replace: boolean;
  append: undefined;
}

/** Claims tasks for this process, after the writes of a batch and in the same commit. */
export interface Claim {
  owner: string;
  /**
   * The names that this process can run, each with its limit of running tasks over all processes.
   */
  names: readonly (readonly [name: string, concurrency: number | undefined])[];
  limit: number;
  /**
   * Maximum size of the arguments of all claimed tasks together, in bytes. A single task may exceed
   * it. Default 32 MiB.
   */
  bytes?: number;
  at: number;
}

/** The writes and the claim of one commit. */
export interface Batch {
  writes: readonly Write[];
  claim: Claim | undefined;
  /** Unix milliseconds. */
  at: number;
  /** States whose transitions an observer in this process is subscribed to. */
  wanted: readonly TaskStatus[];
}

/** Why a write failed. `errcode` is the error number of SQLite. */
export interface WriteFailure {
  message: string;
  errcode: number | undefined;
}

/** The result of one write of a batch. */
export type WriteOutcome = { ok: true; value: Written[Kind] } | { ok: false; error: WriteFailure };

/** The result of a batch. */
export interface BatchResult {
  /** `undefined` for a write that succeeded and has no answer. */
  outcomes: readonly (WriteOutcome | undefined)[];
  claimed: readonly ClaimedRow[];
  /**
   * Summaries for the observer: of the claimed tasks, and of the tasks whose deadline had passed.
   */
  begun: readonly SummaryRow[];
  expired: readonly SummaryRow[];
  /** When the next delayed task is due, in Unix milliseconds; null without delayed tasks. */
  nextDue: number | null;
  /** Why the claim failed; absent if it did not fail. */
  claimError?: WriteFailure;
  /** Whether ready tasks are left for the next claim, because this one reached a limit. */
  more?: boolean;
  /** Whether syncing to disk took most of the time of the batch. */
  diskBound: boolean;
}

/** Returns what was stored for an attempt, from the answer to the write that ended it. */
export function storedEnd(answer: Written['finish']): StoredEnd | 'lost' {
  if (typeof answer === 'string') return answer;
  return answer && stateOf(answer.status) === 'cancelled' ? 'cancelled' : 'reported';
}
