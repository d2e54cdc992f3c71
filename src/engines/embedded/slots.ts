import type { AttemptResult, NewLogLine, TaskRunner } from '../../tasks/engine.js';
import { type ClaimedRow, toClaimed } from './rows.js';
import type { LogEntry, ProgressEntry } from './write.js';

/** What an attempt is known by: the `seq` of its task, and its number. */
export interface AttemptKey {
  seq: number;
  attempt: number;
}

/** An attempt that runs in this process. */
interface Slot extends AttemptKey {
  id: string;
  name: string;
  aborting: LazyAbort;
  /** Its end is recorded, or about to be, though its handler may go on. */
  over: boolean;
  stored: boolean;
  grace?: NodeJS.Timeout | undefined;
  /** Log lines and progress not yet on their way to the database. */
  logs: LogEntry[];
  progress?: ProgressEntry | undefined;
}

/** A signal that is made when somebody asks for it: one for every task would cost more than the rest of it. */
class LazyAbort {
  #controller: AbortController | undefined;
  #reason: { value: unknown } | undefined;

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason.value);
    }
    return this.#controller.signal;
  }

  abort(value: unknown): void {
    this.#reason ??= { value };
    this.#controller?.abort(this.#reason.value);
  }
}

/** What an attempt said last, and is not written yet. */
export interface LeftToWrite {
  logs: readonly LogEntry[];
  progress: ProgressEntry | undefined;
}

interface SlotsParts {
  runner: TaskRunner;
  /** The attempt is over. Resolves when that is recorded. */
  finished(key: AttemptKey & { id: string }, result: AttemptResult, rest: LeftToWrite): Promise<void>;
  /** A cancelled attempt did not end in time. */
  abandoned(key: AttemptKey & { id: string }): void;
  /** Lines or progress wait to be written. */
  logged(): void;
  /** A slot is free that no end of an attempt made so. */
  freed(): void;
}

/** The attempts under way in this process, at most as many as the runner allows. */
export class Slots {
  readonly #parts: SlotsParts;
  /** By task and attempt: a task that timed out may be tried again while its handler still goes on. */
  readonly #running = new Map<string, Slot>();
  /** Attempts whose end is known, but not yet stored. */
  #ending = 0;
  #stopping = false;
  /** Lines of attempts that have no slot any more. */
  readonly #leftLogs: LogEntry[] = [];
  #idle: (() => void) | undefined;

  constructor(parts: SlotsParts) {
    this.#parts = parts;
  }

  get free(): number {
    return this.#parts.runner.concurrency - this.#running.size;
  }

  get size(): number {
    return this.#running.size + this.#ending;
  }

  /** Runs a task just claimed. */
  run(row: ClaimedRow): void {
    const { runner, logged } = this.#parts;
    const task = toClaimed(row);
    const key = { seq: row[0], attempt: task.attempt };
    const slot: Slot = { ...key, id: task.id, name: task.name, aborting: new LazyAbort(), over: false, stored: false, logs: [] };
    this.#running.set(nameOf(key), slot);
    const log = (line: NewLogLine): void => {
      slot.logs.push({ ...line, task: key.seq, attempt: key.attempt, late: slot.over });
      logged();
    };
    const progress = (value: number, text: string | null): void => {
      if (slot.over) return;
      slot.progress = { task: key.seq, attempt: key.attempt, value, text };
      logged();
    };
    const { result, ended } = runner.run(task, {
      get signal() {
        return slot.aborting.signal;
      },
      abort: (reason) => slot.aborting.abort(reason),
      log,
      progress,
    });
    void result.then((outcome) => this.#record(slot, outcome));
    void ended.then(() => this.#release(slot));
  }

  async #record(slot: Slot, result: AttemptResult): Promise<void> {
    clearTimeout(slot.grace);
    slot.over = true;
    if (this.#stopping && result.status === 'failed') {
      // It failed because it was told to stop: that is handed back like what never ends, and not a failure of the task.
      this.#leftLogs.push(...slot.logs.splice(0));
    } else {
      this.#ending += 1;
      await this.#parts.finished(slot, result, { logs: slot.logs.splice(0), progress: slot.progress });
      this.#ending -= 1;
    }
    slot.stored = true;
    this.#rest();
  }

  /** The handler has ended. Its slot is free for what is claimed in the very commit that stores the end. */
  #release(slot: Slot): void {
    this.#running.delete(nameOf(slot));
    if (slot.stored) {
      this.#leftLogs.push(...slot.logs.splice(0));
      this.#parts.freed();
    }
    this.#rest();
  }

  #rest(): void {
    if (this.size === 0) this.#idle?.();
  }

  /** Aborts the signal of a task, and gives it up after its grace. Its slot stays taken until the handler ends. */
  cancel(key: AttemptKey): void {
    const slot = this.#running.get(nameOf(key));
    if (!slot || slot.grace || slot.over) return;
    const giveUp = (): void => {
      slot.over = true;
      this.#parts.abandoned(slot);
    };
    slot.grace = setTimeout(giveUp, this.#parts.runner.cancelGrace(slot.name) * 1000);
    slot.aborting.abort(new DOMException('the task was cancelled', 'AbortError'));
  }

  /** Aborts all that run, because the process stops. */
  abortAll(): void {
    this.#stopping = true;
    for (const slot of this.#running.values()) {
      clearTimeout(slot.grace);
      slot.aborting.abort(new DOMException('the process stops', 'AbortError'));
    }
  }

  /** Takes the lines that wait to be written. */
  takeLogs(): LogEntry[] {
    return [...this.#leftLogs.splice(0), ...[...this.#running.values()].flatMap((slot) => slot.logs.splice(0))];
  }

  /** Takes what attempts last said of their progress. */
  takeProgress(): ProgressEntry[] {
    const entries: ProgressEntry[] = [];
    for (const slot of this.#running.values()) {
      if (slot.progress && !slot.over) entries.push(slot.progress);
      slot.progress = undefined;
    }
    return entries;
  }

  /** Resolves to whether all ended within so many seconds. */
  async drain(seconds: number): Promise<boolean> {
    if (this.size === 0) return true;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), seconds * 1000);
      this.#idle = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }
}

function nameOf({ seq, attempt }: AttemptKey): string {
  return `${seq} ${attempt}`;
}
