import type {
  AttemptIo,
  ClaimedTask,
  NewLogLine,
  RunningAttempt,
  StoredEnd,
} from '../../../tasks/task-runner.js';
import { AttemptSignal } from '../../attempt-signal.js';
import type { LogEntry, ProgressEntry } from '../../tables/write/batch.js';
import type { Timer } from '../clock.js';

/** Identifies an attempt: the row id of its task, and its number. */
export interface AttemptKey {
  rowid: number;
  attempt: number;
}

/** The last output of an attempt, which is not stored yet. */
export interface LeftToWrite {
  logs: readonly LogEntry[];
  progress: ProgressEntry | undefined;
}

/** The callbacks of a slot. */
export interface SlotEvents {
  /** Called when there are log lines or progress to write. */
  logged(slot: Slot): void;
  /** Called when a listener of the abort signal threw or rejected. */
  listenerFailed(slot: Slot, err: unknown): void;
  /** Returns the time of a log line. */
  now(): number;
}

/**
 * An attempt that runs in this process, and the functions that its handler may call. This is a
 * class because every attempt creates one.
 */
export class Slot implements AttemptKey, AttemptIo {
  readonly rowid: number;
  readonly attempt: number;
  readonly id: string;
  readonly name: string;
  /** Whether the end of the attempt is known. The handler may still run. */
  over = false;
  stored = false;
  /** Whether the end of the attempt is logged, or the attempt was given up. */
  logged = false;
  running: RunningAttempt | undefined;
  grace: Timer | undefined;
  /** Log lines and progress that no write has taken yet. */
  logs: LogEntry[] = [];
  latest: ProgressEntry | undefined;
  readonly #events: SlotEvents;
  readonly #signal: AttemptSignal;

  constructor(rowid: number, { id, name, attempt }: ClaimedTask, events: SlotEvents) {
    this.rowid = rowid;
    this.attempt = attempt;
    this.id = id;
    this.name = name;
    this.#events = events;
    this.#signal = new AttemptSignal(this);
  }

  /** Reports that a listener of the abort signal threw or rejected. */
  listenerFailed(err: unknown): void {
    this.#events.listenerFailed(this, err);
  }

  get signal(): AbortSignal {
    return this.#signal.signal;
  }

  abort(reason: unknown): void {
    this.#signal.abort(reason);
  }

  log(line: NewLogLine): void {
    this.logs.push({
      ...line,
      at: this.#events.now(),
      task: this.rowid,
      attempt: this.attempt,
      late: this.over,
    });
    this.#events.logged(this);
  }

  progress(value: number, text: string | null): void {
    if (this.over) return;
    this.latest = { task: this.rowid, attempt: this.attempt, value, text };
    this.#events.logged(this);
  }

  /** Logs the end of the attempt, once. */
  logEnd(stored: StoredEnd): void {
    if (this.logged) return;
    this.logged = true;
    this.running?.logEnd(stored);
  }

  /** Returns the lines to write, and removes them here. */
  takeLogs(): LogEntry[] {
    if (this.logs.length === 0) return [];
    const taken = this.logs;
    this.logs = [];
    return taken;
  }
}

/** Returns whether two keys identify the same attempt. */
export function isSame(one: AttemptKey, other: AttemptKey): boolean {
  return one.rowid === other.rowid && one.attempt === other.attempt;
}
