import { Notifier } from '../../../notifier.js';
import type { Logger } from '../../../options.js';
import { thrownForLog } from '../../../tasks/describe-error.js';
import type { AttemptResult, StoredEnd, TaskRunner } from '../../../tasks/task-runner.js';
import type { TaskStatus } from '../../../tasks/types.js';
import { type Stuck, StuckAttempts } from '../../stuck-attempts.js';
import { type Claimed, toClaimed } from '../../tables/schema/claimed-task.js';
import type { LogEntry, ProgressEntry } from '../../tables/write/batch.js';
import type { Clock } from '../clock.js';
import { type AttemptKey, isSame, Slot, type SlotEvents } from './slot.js';

/** The last output of an attempt, which is not stored yet. */
export interface LeftToWrite {
  logs: readonly LogEntry[];
  progress: ProgressEntry | undefined;
}

/** Maximum number of lines that are kept while they cannot be written. */
const maxKeptLines = 10_000;

interface SlotsDeps {
  runner: TaskRunner;
  clock: Clock;
  logger: Logger;
  /**
   * Called when an attempt has ended. Resolves to what was stored. `lost` means nothing, because
   * another process owns the task. `undefined` means nothing, because this process stops.
   */
  finished(
    key: AttemptKey & { id: string },
    result: AttemptResult,
    rest: LeftToWrite,
  ): Promise<StoredEnd | 'lost' | undefined>;
  /**
   * Called when a cancelled attempt did not end in time. Resolves to whether its end was stored.
   */
  abandoned(key: AttemptKey & { id: string }): Promise<boolean>;
  /** Called when there are lines or progress to write. */
  logged(): void;
  /** Called when a slot becomes free without the end of an attempt. */
  freed(): void;
  /**
   * Called when the number of stuck handlers changes: those that hold a slot after their attempt
   * was given up.
   */
  stuckChanged(stuck: Stuck): void;
}

/**
 * The running attempts of this process, at most as many as the runner allows. An attempt passes
 * through these steps:
 * 1. `run` takes a slot and calls the runner.
 * 2. When the result is known, `finished` stores it. If a cancelled handler does not end within its
 *    grace period, `abandoned` stores its end instead, and the handler keeps the slot.
 * 3. When the handler has ended, the slot is free for the next claim.
 */
export class Slots {
  readonly #deps: SlotsDeps;
  readonly #running = new Set<Slot>();
  /** Attempts with a known end that is not stored yet. */
  readonly #ending = new Set<Slot>();
  /** Attempts that failed because this process stops. */
  readonly #returned = new Set<Slot>();
  #stopping = false;
  /** Attempts that were cancelled after their claim was stored and before they started here. */
  #cancelledEarly: readonly AttemptKey[] = [];
  /**
   * Attempts with lines or progress to write. A handler may write lines long after its attempt
   * ended.
   */
  readonly #unwritten = new Set<Slot>();
  /** Lines that could not be written yet. */
  readonly #leftLogs: LogEntry[] = [];
  readonly #stuck: StuckAttempts;
  #closed = false;
  readonly #events: SlotEvents = {
    now: () => this.#deps.clock.now(),
    logged: (slot) => this.#noteUnwritten(slot),
    listenerFailed: ({ id, name, attempt }, err) =>
      this.#deps.logger.error(
        { taskId: id, task: name, attempt, err: thrownForLog(err) },
        'an abort listener of a task failed',
      ),
  };
  /** Notifies when the end of an attempt is stored, and when a handler has ended. */
  readonly #ended = new Notifier();

  constructor(deps: SlotsDeps) {
    this.#deps = deps;
    const { runner, logger, stuckChanged } = deps;
    this.#stuck = new StuckAttempts({
      slots: () => runner.concurrency,
      logger,
      changed: stuckChanged,
    });
  }

  get free(): number {
    return this.#deps.runner.concurrency - this.#running.size;
  }

  get size(): number {
    return this.#running.size + this.#ending.size;
  }

  /** Number of attempts whose end is not stored. */
  get active(): number {
    return [...new Set([...this.#running, ...this.#ending])].filter(
      ({ stored, logged }) => !stored && !logged,
    ).length;
  }

  /** Resolves when another attempt has ended. */
  ended(): Promise<void> {
    return this.#ended.wait(new AbortController().signal);
  }

  /** The attempts that this process has claimed and whose end is not stored. */
  get held(): [rowid: number, attempt: number][] {
    return [...new Set([...this.#running, ...this.#ending])].map(({ rowid, attempt }) => [
      rowid,
      attempt,
    ]);
  }

  /** Runs a claimed task. */
  run(row: Readonly<Claimed>): void {
    const { runner, clock } = this.#deps;
    const claimed = toClaimed(row);
    const { deadlineAt } = claimed;
    const task =
      deadlineAt === undefined
        ? claimed
        : { ...claimed, deadlineAt: clock.toProcessTime(deadlineAt) };
    const slot = new Slot(row.rowid, task, this.#events);
    this.#running.add(slot);
    slot.running = runner.run(task, slot);
    const { result, ended } = slot.running;
    void result.then((outcome) => {
      this.#record(slot, outcome);
      if (result === ended) this.#release(slot);
      // If the handler ends together with its attempt, it has released its slot by now, or does so
      // within this turn of the event loop.
      else if (this.#running.has(slot)) clock.nextTurn(() => this.#noteStuck(slot));
    });
    if (result !== ended) void ended.then(() => this.#release(slot, true));
    if (this.#cancelledEarly.some((key) => isSame(key, slot))) this.#cancel(slot);
  }

  #noteUnwritten(slot: Slot): void {
    if (this.#closed) return;
    this.#unwritten.add(slot);
    this.#deps.logged();
  }

  #noteStuck(slot: Slot): void {
    if (this.#running.has(slot) && !this.#stopping) this.#stuck.add(slot);
  }

  #record(slot: Slot, result: AttemptResult): void {
    slot.grace?.clear();
    slot.over = true;
    const stored = (): void => {
      slot.stored = true;
      this.#rest();
    };
    if (this.#stopping && result.status === 'failed') {
      // The attempt failed because its signal was aborted. It is returned to the queue like an
      // attempt that does not end.
      this.#returned.add(slot);
      stored();
      return;
    }
    this.#ending.add(slot);
    void this.#deps
      .finished(slot, result, { logs: slot.takeLogs(), progress: slot.latest })
      .then((end) => {
        // If an end is not stored yet, the stop returns the task to the queue.
        if (end) this.#ending.delete(slot);
        if (end === 'lost') this.#warnLost(slot);
        else if (end) slot.logEnd(end);
        stored();
      });
  }

  #warnLost(slot: Slot): void {
    if (slot.logged) return;
    const { id, name, attempt } = slot;
    this.#deps.logger.warn(
      { taskId: id, task: name, attempt },
      'the result of a task was dropped, because another process took over the task',
    );
  }

  /**
   * Logs the ends of attempts that this process has returned to the queue. `states` has the state
   * of each task by row id.
   */
  handedBack(states: ReadonlyMap<number, TaskStatus>): void {
    for (const slot of [...this.#running, ...this.#ending, ...this.#returned]) {
      const status = states.get(slot.rowid);
      if (status === 'pending' || status === 'interrupted' || status === 'cancelled')
        slot.logEnd(status);
    }
  }

  /**
   * Frees the slot of a handler that has ended. The commit that stores the end can already claim a
   * task for the slot. If the attempt was given up before, no such commit follows, so only later
   * claims use the slot.
   */
  #release(slot: Slot, apart = false): void {
    this.#running.delete(slot);
    this.#stuck.remove(slot);
    if (slot.stored || apart) this.#deps.freed();
    this.#rest();
  }

  #rest(): void {
    if (this.#ended.hasListeners) this.#ended.notify();
  }

  /**
   * Cancels the attempts for which the database has a cancel request. If an attempt was claimed but
   * has not started here, it is cancelled when it starts.
   */
  cancel(keys: readonly AttemptKey[]): void {
    if (keys.length === 0 && this.#cancelledEarly.length === 0) return;
    const running = [...this.#running];
    // The attempt number is compared too: after a timeout, a task may run again while its old
    // handler still runs.
    const slots = keys.map((key) => running.find((slot) => isSame(key, slot)));
    for (const slot of slots) if (slot) this.#cancel(slot);
    this.#cancelledEarly = keys.filter((_key, index) => slots[index] === undefined);
  }

  /**
   * Aborts the signal of an attempt, and gives the attempt up after its grace period. Its slot
   * stays occupied until the handler ends.
   */
  #cancel(slot: Slot): void {
    if (slot.grace || slot.over) return;
    const giveUp = (): void => {
      slot.over = true;
      void this.#deps.abandoned(slot).then((isStored) => {
        if (isStored) slot.logEnd('cancelled');
        this.#rest();
      });
      this.#noteStuck(slot);
    };
    slot.grace = this.#deps.clock.after(this.#deps.runner.cancelGrace(slot.name) * 1000, giveUp);
    slot.abort(new DOMException('the task was cancelled', 'AbortError'));
  }

  /** Aborts all running attempts, because the process stops. */
  abortAll(): void {
    this.#stopping = true;
    for (const slot of this.#running) {
      slot.grace?.clear();
      slot.abort(new DOMException('the process stops', 'AbortError'));
    }
  }

  /** Keeps lines that could not be written, up to a limit. */
  keepLogs(lines: readonly LogEntry[]): void {
    const room = maxKeptLines - this.#leftLogs.length;
    if (room > 0) this.#leftLogs.unshift(...lines.slice(0, room));
    this.#deps.logged();
  }

  /** Returns the lines to write, and removes them here. */
  takeLogs(): LogEntry[] {
    return [
      ...this.#leftLogs.splice(0),
      ...[...this.#unwritten].flatMap((slot) => slot.takeLogs()),
    ];
  }

  /** Returns the last progress of each attempt, and removes it here. */
  takeProgress(): ProgressEntry[] {
    const entries: ProgressEntry[] = [];
    for (const slot of this.#unwritten) {
      if (slot.latest && !slot.over) entries.push(slot.latest);
      slot.latest = undefined;
      if (slot.logs.length === 0) this.#unwritten.delete(slot);
    }
    return entries;
  }

  /** Stops accepting lines and reporting handlers, because the tables will be closed. */
  close(): void {
    this.#closed = true;
    this.#stuck.close();
  }

  /**
   * Waits up to a number of seconds for all attempts. Resolves to whether all of them have ended.
   */
  async drain(seconds: number): Promise<boolean> {
    const timeout = new AbortController();
    const timer = this.#deps.clock.after(seconds * 1000, () => timeout.abort());
    while (this.size > 0 && !timeout.signal.aborted) await this.#ended.wait(timeout.signal);
    timer.clear();
    return this.size === 0;
  }
}
