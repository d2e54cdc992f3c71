import type { AttemptResult, ClaimedTask, NewLogLine, TaskRunner } from '../../tasks/engine.js';
import type { Row } from './database.js';
import { toSummary } from './rows.js';
import type { LogEntry } from './write.js';

/** An attempt that runs in this process. */
interface Slot {
  attempt: number;
  name: string;
  controller: AbortController;
  grace?: NodeJS.Timeout | undefined;
  /** Log lines not yet on their way to the database. */
  logs: LogEntry[];
}

interface SlotsParts {
  runner: TaskRunner;
  /** The attempt is over. Resolves when that is recorded. */
  finished(id: string, attempt: number, result: AttemptResult, logs: readonly LogEntry[]): Promise<void>;
  /** A cancelled attempt did not end in time. */
  abandoned(id: string, attempt: number): void;
  /** Lines wait to be written. */
  logged(): void;
}

/** The attempts under way in this process, at most as many as the runner allows. */
export class Slots {
  readonly #parts: SlotsParts;
  readonly #running = new Map<string, Slot>();
  /** Attempts whose handler has ended, but whose end is not yet stored. */
  #ending = 0;
  #stopping = false;
  /** Lines of attempts that were broken off. */
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

  /** Runs a task just claimed; the row has its arguments. */
  run(row: Row): void {
    const summary = toSummary(row);
    const slot: Slot = { attempt: summary.attempt, name: summary.name, controller: new AbortController(), logs: [] };
    this.#running.set(summary.id, slot);
    const tryNumber = summary.attempt - (summary.maxAttempts - Number(row.attempts));
    void this.#attempt({ summary, args: String(row.args), tryNumber, logLines: Number(row.log_lines) }, slot);
  }

  async #attempt(task: ClaimedTask, slot: Slot): Promise<void> {
    const { runner, finished, logged } = this.#parts;
    const { id, attempt } = task.summary;
    const log = (line: NewLogLine): void => {
      slot.logs.push({ ...line, task: id, attempt });
      logged();
    };
    const result = await runner.run(task, { signal: slot.controller.signal, log });
    clearTimeout(slot.grace);
    // The handler has ended, so its slot is free for what is claimed in the very commit that stores the end.
    this.#running.delete(id);
    if (this.#stopping && result.status === 'failed') {
      // It failed because it was told to stop: that is handed back like what never ends, and not a failure of the task.
      this.#leftLogs.push(...slot.logs);
    } else {
      this.#ending += 1;
      await finished(id, attempt, result, slot.logs.splice(0));
      this.#ending -= 1;
    }
    if (this.size === 0) this.#idle?.();
  }

  /** Aborts the signal of a task, and gives it up after its grace. Its slot stays taken until the handler ends. */
  cancel(id: string): void {
    const slot = this.#running.get(id);
    if (!slot || slot.grace) return;
    const seconds = this.#parts.runner.cancelGrace(slot.name);
    slot.grace = setTimeout(() => this.#parts.abandoned(id, slot.attempt), seconds * 1000);
    slot.controller.abort(new DOMException('the task was cancelled', 'AbortError'));
  }

  /** Aborts all that run, because the process stops. */
  abortAll(): void {
    this.#stopping = true;
    for (const slot of this.#running.values()) {
      clearTimeout(slot.grace);
      slot.controller.abort(new DOMException('the process stops', 'AbortError'));
    }
  }

  /** Takes the lines that wait to be written. */
  takeLogs(): LogEntry[] {
    return [...this.#leftLogs.splice(0), ...[...this.#running.values()].flatMap((slot) => slot.logs.splice(0))];
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
