import { runInEmptyContext } from '../../empty-context.js';
import type { TaskClock } from '../../tasks/new-task.js';
import { newTaskId } from '../../tasks/task-id.js';

/** Work that is scheduled for later. */
export interface Timer {
  clear(): void;
}

/**
 * The time and the timers of an engine. All times are Unix milliseconds. Work runs in an empty
 * AsyncLocalStorage context, because it serves many requests.
 */
export interface Clock extends TaskClock {
  /** Converts a time of this clock to the time of the process, which time limits use. */
  toProcessTime(time: number): number;
  /** Runs work in the next turn of the event loop. */
  nextTurn(work: () => void): void;
  /**
   * Runs work after a number of milliseconds. The timer keeps the process alive, unless the work is
   * `background` work.
   */
  after(milliseconds: number, work: () => void, background?: 'background'): Timer;
  /**
   * Runs work when this clock reaches a time. Calls `waiting` each time it checks the clock and the
   * time has not been reached.
   */
  at(time: number, work: () => void, waiting?: () => void): Timer;
  /** Runs work at an interval in milliseconds. The timer never keeps the process alive. */
  every(milliseconds: number, work: () => void): Timer;
}

/**
 * Maximum duration of a single timer in milliseconds. A longer wait uses several timers, because
 * one timer is limited to 25 days and ignores changes of the clock.
 */
const longestWait = 5_000;

/** The clock of the process. */
export const systemClock: Clock = {
  now: () => Date.now(),
  newTaskId,
  toProcessTime: (time) => time,
  nextTurn(work) {
    runInEmptyContext(() => setImmediate(work));
  },
  after(milliseconds, work, background) {
    const timer = runInEmptyContext(() => setTimeout(work, milliseconds));
    if (background) timer.unref();
    return { clear: () => clearTimeout(timer) };
  },
  at(time, work, waiting) {
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      waiting?.();
      timer = setTimeout(look, Math.min(Math.max(0, time - Date.now()), longestWait));
    };
    const look = (): void => (Date.now() < time ? wait() : work());
    runInEmptyContext(wait);
    return { clear: () => clearTimeout(timer) };
  },
  every(milliseconds, work) {
    const timer = runInEmptyContext(() => setInterval(work, milliseconds).unref());
    return { clear: () => clearInterval(timer) };
  },
};
