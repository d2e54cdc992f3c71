import type { AttemptResult, CommandResult, NewLogLine, NewTask } from '../../tasks/engine.js';
import type { Row } from './database.js';

/** A line of a task's log, with what it belongs to. */
export interface LogEntry extends NewLogLine {
  task: string;
  attempt: number;
}

/** Everything that changes the database. Plain data, so that it can be sent to the thread that writes. */
export type Write =
  | { kind: 'enqueue'; tasks: readonly NewTask[] }
  | { kind: 'finish'; id: string; owner: string; attempt: number; at: number; result: AttemptResult; logs: readonly LogEntry[] }
  | { kind: 'log'; logs: readonly LogEntry[] }
  | { kind: 'retry'; ids: readonly string[]; at: number }
  | { kind: 'cancel'; ids: readonly string[]; at: number }
  /** The handler of a cancelled task did not end in time. */
  | { kind: 'abandon'; id: string; owner: string; attempt: number; at: number }
  /** The process that ran these tasks is gone, or is about to go. */
  | { kind: 'recover'; owner: string; at: number }
  | { kind: 'set'; key: string; value: string; expiresAt: number; at: number }
  | { kind: 'increment'; key: string; expiresAt: number; at: number }
  /** `before` is JSON text, or null for no value. */
  | { kind: 'replace'; key: string; before: string | null; value: string; expiresAt: number; at: number }
  | { kind: 'append'; log: string; entry: string; expiresAt: number; at: number };

/** What each kind of write answers. */
export interface Written {
  enqueue: undefined;
  /** The task's row afterwards; `undefined` where the attempt was no longer this owner's to finish. */
  finish: Row | undefined;
  log: undefined;
  retry: readonly CommandResult[];
  /** With the owners of the running ones that are to be told. */
  cancel: readonly CommandResult[];
  abandon: Row | undefined;
  recover: readonly Row[];
  set: undefined;
  increment: number;
  replace: boolean;
  append: undefined;
}

/** Takes tasks for this process, after the writes of a batch and in the same commit. */
export interface Claim {
  owner: string;
  names: readonly string[];
  limit: number;
  at: number;
}

/** What is written in one commit. */
export interface Batch {
  writes: readonly Write[];
  claim: Claim | undefined;
}

/** How one write of a batch went. */
export type WriteOutcome =
  | { ok: true; value: Written[Write['kind']] }
  | { ok: false; error: { message: string; errcode: number | undefined } };

/** How a batch went. */
export interface BatchResult {
  outcomes: readonly WriteOutcome[];
  /** Rows of the tasks claimed, with their arguments. */
  claimed: readonly Row[];
  /** When the next waiting task is due, in Unix milliseconds. */
  nextDue: number | null;
}
