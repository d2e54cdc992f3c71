import type { Logger } from '../../../options.js';
import { thrownForLog } from '../../../tasks/describe-error.js';
import type { AttemptResult, StoredEnd, TaskRunner } from '../../../tasks/task-runner.js';
import type { TaskStatus } from '../../../tasks/types.js';
import { Notifier } from '../../notifier.js';
import { type Stuck, StuckAttempts } from '../../stuck-attempts.js';
import { type ClaimedRow, toClaimed } from '../../tables/schema/rows.js';
import type { LogEntry, ProgressEntry } from '../../tables/write/batch.js';
import type { Clock } from '../clock.js';
import { type AttemptKey, isSame, Slot, type SlotEvents } from './slot.js';

/** The last output of an attempt, which is not written yet. */
export interface LeftToWrite {
  logs: readonly LogEntry[];
  progress: ProgressEntry | undefined;
}

/** How many lines are kept while they cannot be written. */
const maxKeptLines = 10_000;

interface SlotsParts {
  runner: TaskRunner;
  clock: Clock;
  logger: Logger;
  /**
   * Called when an attempt is over. Resolves to what is stored: `lost` for nothing, because another
   * process has the task, and `undefined` for nothing, because this process stops.
   */
  finished(
    key: AttemptKey & { id: string },
    result: AttemptResult,
    rest: LeftToWrite,
  ): Promise<StoredEnd | 'lost' | undefined>;
  /** Called when a cancelled attempt did not end in time. Resolves to whether its end is stored. */
  abandoned(key: AttemptKey & { id: string }): Promise<boolean>;
  /** Called when lines or progress are to be written. */
  logged(): void;
  /** Called when a slot becomes free without the end of an attempt. */
  freed(): void;
  /**
   * Called when the number of slots changes that handlers hold after their attempt was given up.
   */
  stuckChanged(stuck: Stuck): void;
}

/** The running attempts of this process, at most as many as the runner allows. */
export class Slots {
  readonly #parts: SlotsParts;
  readonly #running = new Set<Slot>();
  /** Attempts whose end is known, but not yet stored. */
  readonly #ending = new Set<Slot>();
  /** Attempts that failed because this process stops. */
  readonly #returned = new Set<Slot>();
  #stopping = false;
  /** Attempts that were cancelled after their claim was stored and before they begin here. */
  #cancelledEarly: readonly AttemptKey[] = [];
  /**
   * Attempts with lines or progress that is not written; a handler may write lines long after its
   * attempt has ended.
   */
  readonly #unwritten = new Set<Slot>();
  /** Lines that could not be written. */
  readonly #leftLogs: LogEntry[] = [];
  readonly #stuck: StuckAttempts;
  #closed = false;
  readonly #events: SlotEvents = {
    now: () => this.#parts.clock.now(),
    logged: (slot) => this.#noteUnwritten(slot),
    listenerFailed: ({ id, name, attempt }, err) =>
      this.#parts.logger.error(
        { taskId: id, task: name, attempt, err: thrownForLog(err) },
        'an abort listener of a task failed',
      ),
  };
  /** Notifies whenever the end of an attempt is stored, or its handler has ended. */
  readonly #ended = new Notifier();

  constructor(parts: SlotsParts) {
    this.#parts = parts;
    const { runner, logger, stuckChanged } = parts;
    this.#stuck = new StuckAttempts({
      slots: () => runner.concurrency,
      logger,
      changed: stuckChanged,
    });
  }

  get free(): number {
    return this.#parts.runner.concurrency - this.#running.size;
  }

  get size(): number {
    return this.#running.size + this.#ending.size;
  }

  /** How many attempts have no stored end. */
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
  get held(): [seq: number, attempt: number][] {
    return [...new Set([...this.#running, ...this.#ending])].map(({ seq, attempt }) => [
      seq,
      attempt,
    ]);
  }

  /** Runs a claimed task. */
  run(row: ClaimedRow): void {
    const { runner, clock } = this.#parts;
    const [seq] = row;
    const claimed = toClaimed(row);
    const { deadlineAt } = claimed;
    const task =
      deadlineAt === undefined
        ? claimed
        : { ...claimed, deadlineAt: clock.toProcessTime(deadlineAt) };
    const slot = new Slot(seq, task, this.#events);
    this.#running.add(slot);
    slot.running = runner.run(task, slot);
    const { result, ended } = slot.running;
    void result.then((outcome) => {
      this.#record(slot, outcome);
      if (result === ended) this.#release(slot);
      // An attempt that ends together with its handler has been released by now, or will be within
      // this turn.
      else if (this.#running.has(slot)) clock.nextTurn(() => this.#noteStuck(slot));
    });
    if (result !== ended) void ended.then(() => this.#release(slot, true));
    if (this.#cancelledEarly.some((key) => isSame(key, slot))) this.#cancel(slot);
  }

  #noteUnwritten(slot: Slot): void {
    if (this.#closed) return;
    this.#unwritten.add(slot);
    this.#parts.logged();
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
      // It failed because its signal was aborted, so it is handed back like an attempt that does
      // not end.
      this.#returned.add(slot);
      stored();
      return;
    }
    this.#ending.add(slot);
    void this.#parts
      .finished(slot, result, { logs: slot.takeLogs(), progress: slot.latest })
      .then((end) => {
        // An end that is not stored yet is handed back by the stop.
        if (end) this.#ending.delete(slot);
        if (end === 'lost') this.#warnLost(slot);
        else if (end) slot.logEnd(end);
        stored();
      });
  }

  #warnLost(slot: Slot): void {
    if (slot.logged) return;
    const { id, name, attempt } = slot;
    this.#parts.logger.warn(
      { taskId: id, task: name, attempt },
      'the result of a task was dropped, because another process took over the task',
    );
  }

  /**
   * Logs the ends of attempts that this process has returned to the queue, from the states of their
   * tasks by row id.
   */
  handedBack(states: ReadonlyMap<number, TaskStatus>): void {
    for (const slot of [...this.#running, ...this.#ending, ...this.#returned]) {
      const status = states.get(slot.seq);
      if (status === 'pending' || status === 'interrupted' || status === 'cancelled')
        slot.logEnd(status);
    }
  }

  /**
   * Called when the handler has ended. The commit that stores the end can already claim a task for
   * its slot. If the attempt was given up before, no known commit stores the end, so the slot is
   * only free for later ones.
   */
  #release(slot: Slot, apart = false): void {
    this.#running.delete(slot);
    this.#stuck.remove(slot);
    if (slot.stored || apart) this.#parts.freed();
    this.#rest();
  }

  #rest(): void {
    if (this.#ended.hasListeners) this.#ended.notify();
  }

  /**
   * Cancels the attempts for which the database has a cancel request. An attempt that is claimed
   * but has not begun here is cancelled when it begins.
   */
  cancel(keys: readonly AttemptKey[]): void {
    if (keys.length === 0 && this.#cancelledEarly.length === 0) return;
    const running = [...this.#running];
    // Compared by attempt too: after a timeout, a task may run again while its old handler runs.
    const slots = keys.map((key) => running.find((slot) => isSame(key, slot)));
    for (const slot of slots) if (slot) this.#cancel(slot);
    this.#cancelledEarly = keys.filter((_key, index) => slots[index] === undefined);
  }

  /**
   * Aborts the signal of an attempt, and gives it up after its grace period. Its slot stays
   * occupied until the handler ends.
   */
  #cancel(slot: Slot): void {
    if (slot.grace || slot.over) return;
    const giveUp = (): void => {
      slot.over = true;
      void this.#parts.abandoned(slot).then((isStored) => {
        if (isStored) slot.logEnd('cancelled');
        this.#rest();
      });
      this.#noteStuck(slot);
    };
    slot.grace = this.#parts.clock.after(this.#parts.runner.cancelGrace(slot.name) * 1000, giveUp);
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
    this.#parts.logged();
  }

  /** Returns the lines to write, and forgets them. */
  takeLogs(): LogEntry[] {
    return [
      ...this.#leftLogs.splice(0),
      ...[...this.#unwritten].flatMap((slot) => slot.takeLogs()),
    ];
  }

  /** Returns the last progress of each attempt, and forgets it. */
  takeProgress(): ProgressEntry[] {
    const entries: ProgressEntry[] = [];
    for (const slot of this.#unwritten) {
      if (slot.latest && !slot.over) entries.push(slot.latest);
      slot.latest = undefined;
      if (slot.logs.length === 0) this.#unwritten.delete(slot);
    }
    return entries;
  }

  /** Accepts no more lines and reports no more handlers, because the tables will be closed. */
  close(): void {
    this.#closed = true;
    this.#stuck.close();
  }

  /** Resolves to whether all attempts ended within the given number of seconds. */
  async drain(seconds: number): Promise<boolean> {
    const timeout = new AbortController();
    const timer = this.#parts.clock.after(seconds * 1000, () => timeout.abort());
    while (this.size > 0 && !timeout.signal.aborted) await this.#ended.wait(timeout.signal);
    timer.clear();
    return this.size === 0;
  }
}
