import { Notifier } from '../../../notifier.js';
import type { Logger } from '../../../options.js';
import { thrownForLog } from '../../../tasks/describe-error.js';
import type { AttemptResult, TaskRunner } from '../../../tasks/task-runner.js';
import type { TaskStatus } from '../../../tasks/types.js';
import { createStuckAttempts, type Stuck } from '../../stuck-attempts.js';
import { type Claimed, toClaimed } from '../../tables/schema/claimed-task.js';
import type { LogEntry, ProgressEntry } from '../../tables/write/batch.js';
import type { Clock } from '../clock.js';
import type { EndRecorder } from './ends.js';
import { type AttemptKey, isSame, Slot, type SlotEvents } from './slot.js';

/** Maximum number of lines that are kept while they cannot be written. */
const maxKeptLines = 10_000;

interface SlotsDeps {
  runner: TaskRunner;
  clock: Clock;
  logger: Logger;
  ends: Pick<EndRecorder, 'record' | 'abandon'>;
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

/** The running attempts of this process. */
export type Slots = ReturnType<typeof createSlots>;

/**
 * Creates the slots of this process, as many as the runner allows. An attempt passes through these
 * steps:
 * 1. `run` takes a slot and calls the runner.
 * 2. When the result is known, `ends.record` stores it. If a cancelled handler does not end within
 *    its grace period, `ends.abandon` stores its end instead, and the handler keeps the slot.
 * 3. When the handler has ended, the slot is free for the next claim.
 */
export function createSlots(deps: SlotsDeps) {
  const { runner, clock, logger, ends, logged, freed, stuckChanged } = deps;
  const running = new Set<Slot>();
  /** Attempts with a known end that is not stored yet. */
  const ending = new Set<Slot>();
  /** Attempts that failed because this process stops. */
  const returned = new Set<Slot>();
  let stopping = false;
  let closed = false;
  /** Attempts that were cancelled after their claim was stored and before they started here. */
  let cancelledEarly: readonly AttemptKey[] = [];
  /**
   * Attempts with lines or progress to write. A handler may write lines long after its attempt
   * ended.
   */
  const unwritten = new Set<Slot>();
  /** Lines that could not be written yet. */
  const leftLogs: LogEntry[] = [];
  const stuck = createStuckAttempts({
    slots: () => runner.concurrency,
    logger,
    changed: stuckChanged,
  });
  /** Notifies when the end of an attempt is stored, and when a handler has ended. */
  const ended = new Notifier();
  const events: SlotEvents = {
    now: () => clock.now(),
    logged(slot) {
      if (closed) return;
      unwritten.add(slot);
      logged();
    },
    listenerFailed: ({ id, name, attempt }, err) =>
      logger.error(
        { taskId: id, task: name, attempt, err: thrownForLog(err) },
        'an abort listener of a task failed',
      ),
  };

  const noteEnd = (): void => {
    if (ended.hasListeners) ended.notify();
  };

  const noteStuck = (slot: Slot): void => {
    if (running.has(slot) && !stopping) stuck.add(slot);
  };

  const record = async (slot: Slot, result: AttemptResult): Promise<void> => {
    slot.grace?.clear();
    slot.over = true;
    if (stopping && result.status === 'failed') {
      // The attempt failed because its signal was aborted. It is returned to the queue like an
      // attempt that does not end.
      returned.add(slot);
    } else {
      ending.add(slot);
      const rest = { logs: slot.takeLogs(), progress: slot.latest };
      const end = await ends.record(slot, result, rest);
      // If an end is not stored yet, the stop returns the task to the queue.
      if (end) ending.delete(slot);
      if (end === 'lost') warnLost(slot);
      else if (end) slot.logEnd(end);
    }
    slot.stored = true;
    noteEnd();
  };

  const warnLost = ({ id, name, attempt, logged: isLogged }: Slot): void => {
    if (!isLogged)
      logger.warn(
        { taskId: id, task: name, attempt },
        'the result of a task was dropped, because another process took over the task',
      );
  };

  /**
   * Frees the slot of a handler that has ended. The commit that stores the end can already claim a
   * task for the slot. If the attempt was given up before, no such commit follows, so only later
   * claims use the slot.
   */
  const release = (slot: Slot, apart = false): void => {
    running.delete(slot);
    stuck.remove(slot);
    if (slot.stored || apart) freed();
    noteEnd();
  };

  /**
   * Aborts the signal of an attempt, and gives the attempt up after its grace period. Its slot
   * stays occupied until the handler ends.
   */
  const cancelOne = (slot: Slot): void => {
    if (slot.grace || slot.over) return;
    const giveUp = (): void => {
      slot.over = true;
      void ends.abandon(slot).then((isStored) => {
        if (isStored) slot.logEnd('cancelled');
        noteEnd();
      });
      noteStuck(slot);
    };
    slot.grace = clock.after(runner.cancelGrace(slot.name) * 1000, giveUp);
    slot.abort(new DOMException('the task was cancelled', 'AbortError'));
  };

  const all = (): Slot[] => [...new Set([...running, ...ending])];
  const size = (): number => running.size + ending.size;

  return {
    size,

    free(): number {
      return runner.concurrency - running.size;
    },

    /** Returns whether the end of some attempt is not stored. */
    isActive(): boolean {
      return all().some((slot) => !slot.stored && !slot.logged);
    },

    /** Resolves when another attempt has ended. */
    ended: () => ended.wait(),

    /** Returns the attempts that this process has claimed and whose end is not stored. */
    held(): [rowid: number, attempt: number][] {
      return all().map(({ rowid, attempt }) => [rowid, attempt]);
    },

    /** Runs a claimed task. */
    run(row: Readonly<Claimed>): void {
      const claimed = toClaimed(row);
      const { deadlineAt } = claimed;
      const task =
        deadlineAt === undefined
          ? claimed
          : { ...claimed, deadlineAt: clock.toProcessTime(deadlineAt) };
      const slot = new Slot(row.rowid, task, events);
      running.add(slot);
      slot.running = runner.run(task, slot);
      const { result, ended: handlerEnded } = slot.running;
      void result.then((outcome) => {
        void record(slot, outcome);
        if (result === handlerEnded) release(slot);
        // If the handler ends together with its attempt, it has released its slot by now, or does
        // so within this turn of the event loop.
        else if (running.has(slot)) clock.nextTurn(() => noteStuck(slot));
      });
      if (result !== handlerEnded) void handlerEnded.then(() => release(slot, true));
      if (cancelledEarly.some((key) => isSame(key, slot))) cancelOne(slot);
    },

    /**
     * Logs the ends of attempts that this process has returned to the queue. `states` has the state
     * of each task by row id.
     */
    handedBack(states: ReadonlyMap<number, TaskStatus>): void {
      for (const slot of [...running, ...ending, ...returned]) {
        const status = states.get(slot.rowid);
        if (status === 'pending' || status === 'interrupted' || status === 'cancelled')
          slot.logEnd(status);
      }
    },

    /**
     * Cancels the attempts for which the database has a cancel request. If an attempt was claimed
     * but has not started here, it is cancelled when it starts.
     */
    cancel(keys: readonly AttemptKey[]): void {
      if (keys.length === 0 && cancelledEarly.length === 0) return;
      const slots = [...running];
      cancelledEarly = keys.filter((key) => {
        // The attempt number is compared too: after a timeout, a task may run again while its old
        // handler still runs.
        const slot = slots.find((each) => isSame(key, each));
        if (slot) cancelOne(slot);
        return !slot;
      });
    },

    /** Aborts all running attempts, because the process stops. */
    abortAll(): void {
      stopping = true;
      for (const slot of running) {
        slot.grace?.clear();
        slot.abort(new DOMException('the process stops', 'AbortError'));
      }
    },

    /** Keeps lines that could not be written, up to a limit. */
    keepLogs(lines: readonly LogEntry[]): void {
      const room = maxKeptLines - leftLogs.length;
      if (room > 0) leftLogs.unshift(...lines.slice(0, room));
      logged();
    },

    /** Returns the lines to write, and removes them here. */
    takeLogs(): LogEntry[] {
      return [...leftLogs.splice(0), ...[...unwritten].flatMap((slot) => slot.takeLogs())];
    },

    /** Returns the last progress of each attempt, and removes it here. */
    takeProgress(): ProgressEntry[] {
      const entries: ProgressEntry[] = [];
      for (const slot of unwritten) {
        if (slot.latest && !slot.over) entries.push(slot.latest);
        slot.latest = undefined;
        if (slot.logs.length === 0) unwritten.delete(slot);
      }
      return entries;
    },

    /** Stops accepting lines and reporting handlers, because the tables will be closed. */
    close(): void {
      closed = true;
      stuck.close();
    },

    /**
     * Waits up to a number of seconds for all attempts. Resolves to whether all of them have ended.
     */
    async drain(seconds: number): Promise<boolean> {
      let isLate = false;
      const timer = clock.after(seconds * 1000, () => {
        isLate = true;
        ended.notify();
      });
      while (size() > 0 && !isLate) await ended.wait();
      timer.clear();
      return size() === 0;
    },
  };
}
