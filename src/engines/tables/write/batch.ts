import type { CommandResult } from '../../../tasks/commands.js';
import type { AttemptResult, NewLogLine, StoredEnd } from '../../../tasks/task-runner.js';
import type { TaskStatus } from '../../../tasks/types.js';
import type { WorkerRow } from '../../this-process.js';
import type { Delay } from '../read/delays.js';
import type { Row } from '../schema/database.js';
import type { ClaimedRow } from '../schema/rows.js';
import { stateOf } from '../schema/states.js';
import type { PackedTasks } from './packed-tasks.js';

/** A line of a task's log, with what it belongs to. */
export interface LogEntry extends NewLogLine {
  /** `seq` of the task. */
  task: number;
  attempt: number;
  late: boolean;
}

/** How far an attempt is. */
export interface ProgressEntry {
  task: number;
  attempt: number;
  value: number;
  text: string | null;
}

/**
 * An attempt that an owner holds: fencing, so that a process which was taken for dead has nothing
 * more to say.
 */
interface Held {
  seq: number;
  owner: string;
  attempt: number;
  at: number;
}

/** Who pauses, and why. */
interface By {
  by: string;
  reason?: string | undefined;
  at: number;
}

/** A command to tasks. */
interface OnTasks<K> {
  kind: K;
  ids: readonly string[];
  at: number;
}

/** Everything that changes the database. JSON, so that it can be sent to the thread that writes. */
export type Write =
  | { kind: 'enqueue'; tasks: PackedTasks }
  /** `again`: it was submitted before, and may have been stored although that failed. */
  | ({
      kind: 'finish';
      result: AttemptResult;
      logs?: readonly LogEntry[];
      progress?: ProgressEntry;
      again?: boolean;
    } & Held)
  /** The handler of a cancelled task did not end in time. */
  | ({ kind: 'abandon' } & Held)
  | { kind: 'log'; logs: readonly LogEntry[] }
  | { kind: 'progress'; owner: string; entries: readonly ProgressEntry[] }
  /** `delays`: milliseconds that each waits. */
  | (OnTasks<'retry'> & { delays?: readonly number[] })
  | OnTasks<'cancel'>
  | OnTasks<'delete'>
  | OnTasks<'run'>
  /** `newIds` are those of the new tasks, one for each. */
  | {
      kind: 'rerun';
      ids: readonly string[];
      newIds: readonly string[];
      args: string | undefined;
      at: number;
    }
  /** The process that ran these tasks is gone, or is about to go. */
  | { kind: 'recover'; owner: string; at: number }
  /**
   * The answers to some claims of this process were lost: it knows only the attempts that it holds.
   */
  | {
      kind: 'handBack';
      owner: string;
      held: readonly (readonly [seq: number, attempt: number])[];
      at: number;
    }
  /** With the owner alone: that process has ended. */
  | { kind: 'register'; worker: { owner: string } | WorkerRow }
  | ({ kind: 'pauseQueue'; queue: string; paused: boolean } & By)
  /** `template` is a task of the schedule; each run is one like it. */
  | {
      kind: 'plan';
      name: string;
      task: string;
      rule: string;
      template: PackedTasks;
      nextAt: number | null;
      at: number;
    }
  /** The next run moves from `dueAt` to `nextAt`. */
  | { kind: 'restartInterval'; name: string; rule: string; dueAt: number; nextAt: number }
  | { kind: 'restartDelays'; delays: readonly Delay[]; at: number }
  /** `skip`: the run was missed and is not caught up. */
  | {
      kind: 'fire';
      name: string;
      dueAt: number;
      nextAt: number | null;
      overlap: boolean;
      skip: boolean;
      newId: string;
      at: number;
    }
  | { kind: 'runSchedule'; name: string; newId: string; at: number }
  | ({ kind: 'pauseSchedule'; name: string; paused: boolean } & By)
  | { kind: 'removeSchedule'; name: string; at: number }
  /** Tasks of another engine as they are now, and those that are gone there. */
  | { kind: 'prune'; endedBefore: number | null; keep: number | null; limit: number; at: number }
  | { kind: 'makeSearchable'; limit: number }
  /** Sums of minutes and of hours from before these times, in Unix milliseconds. */
  | { kind: 'dropStatistics'; minutesBefore: number; hoursBefore: number; limit: number }
  /** Partitions whose id comes after this one. */
  | { kind: 'dropPartitions'; after: number; limit: number }
  | { kind: 'dropExpired'; limit: number; at: number }
  | { kind: 'set'; key: string; value: string; expiresAt: number; at: number }
  | { kind: 'increment'; key: string; expiresAt: number; at: number }
  /** `before` and `value` are JSON text, or null for no value. */
  | {
      kind: 'replace';
      key: string;
      before: string | null;
      value: string | null;
      expiresAt: number;
      at: number;
    }
  | { kind: 'append'; log: string; entry: string; expiresAt: number; at: number };

/** A write of a kind. */
export type WriteOf<K extends Write['kind']> = Extract<Write, { kind: K }>;

/** What each kind of write answers. */
export interface Written {
  /** Ids of the tasks that stand for them, where that is not all as given. */
  enqueue: readonly string[] | undefined;
  /**
   * What was stored: `undefined` for the given result, `cancelled` if the task was to be cancelled,
   * `lost` for nothing, because another process has the task. The task's row stands for either of
   * the first two if this process listens to the new state.
   */
  finish: Row | 'cancelled' | 'lost' | undefined;
  abandon: Row | 'cancelled' | 'lost';
  log: undefined;
  progress: undefined;
  retry: readonly CommandResult[];
  cancel: readonly CommandResult[];
  delete: readonly CommandResult[];
  run: readonly CommandResult[];
  rerun: readonly CommandResult[];
  recover: readonly Row[];
  handBack: undefined;
  register: undefined;
  pauseQueue: undefined;
  plan: undefined;
  restartInterval: undefined;
  restartDelays: undefined;
  /** The row of the task it made. */
  fire: Row | undefined;
  /** Likewise; `undefined` where there is no such schedule. */
  runSchedule: Row | undefined;
  /** Whether there is such a schedule. */
  pauseSchedule: boolean;
  removeSchedule: 'removed' | 'defined' | 'unknown';
  /** How many were deleted. */
  prune: number;
  /** How many were looked at. */
  makeSearchable: number;
  /** How many sums were dropped. */
  dropStatistics: number;
  /** The last id that was looked at, or null if it was the last of all. */
  dropPartitions: number | null;
  /** How many rows were dropped. */
  dropExpired: number;
  set: undefined;
  increment: number;
  replace: boolean;
  append: undefined;
}

/** Takes tasks for this process, after the writes of a batch and in the same commit. */
export interface Claim {
  owner: string;
  /** Names it can run, each with how many of it may run at once over all processes. */
  names: readonly (readonly [name: string, concurrency: number | undefined])[];
  limit: number;
  /**
   * Bytes of arguments that the claimed tasks may have together, unless it is one task. Default 32
   * MiB.
   */
  bytes?: number;
  at: number;
}

/** What is written in one commit. */
export interface Batch {
  writes: readonly Write[];
  claim: Claim | undefined;
  /** Unix milliseconds. */
  at: number;
  /** States whose transitions an observer in this process wants. */
  wanted: readonly TaskStatus[];
}

/** Why something could not be written. `errcode` is SQLite's. */
export interface WriteFailure {
  message: string;
  errcode: number | undefined;
}

/** How one write of a batch went. */
export type WriteOutcome =
  | { ok: true; value: Written[Write['kind']] }
  | { ok: false; error: WriteFailure };

/** How a batch went. */
export interface BatchResult {
  /** Nothing stands for a write that went well and answers nothing. */
  outcomes: readonly (WriteOutcome | undefined)[];
  claimed: readonly ClaimedRow[];
  /**
   * Summaries for those who listen: of the tasks claimed, and of those whose deadline had passed.
   */
  begun: readonly Row[];
  expired: readonly Row[];
  /** When the next waiting task is due, in Unix milliseconds. */
  nextDue: number | null;
  /** Why the claim of the batch failed; absent if it did not. */
  claimError?: WriteFailure;
  /**
   * Whether the claim left ready tasks for the next one, because their arguments were too large for
   * one answer.
   */
  more?: boolean;
  /** Whether the batch took most of its time to reach the disk. */
  diskBound: boolean;
}

/** What the answer to a write that ends an attempt says about it. */
export function storedEnd(answer: Written['finish']): StoredEnd | 'lost' {
  if (typeof answer === 'string') return answer;
  return answer && stateOf(answer.status) === 'cancelled' ? 'cancelled' : 'reported';
}
