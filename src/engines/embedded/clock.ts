import { runInEmptyContext } from '../../empty-context.js';
import type { TaskClock } from '../../tasks/new-task.js';
import { newTaskId } from '../../tasks/task-id.js';

/** Work that will run later, unless it is cleared. */
export interface Timer {
  clear(): void;
}

/**
 * What an engine takes the time from, and what it waits with. Work that it starts runs in an empty
 * AsyncLocalStorage context, because it serves many requests. All times are Unix milliseconds.
 */
export interface Clock extends TaskClock {
  /**
   * Converts a time of this clock to the time of the process, in which time limits are measured.
   */
  toProcessTime(time: number): number;
  /** Runs work in the next turn of the event loop. */
  nextTurn(work: () => void): void;
  /**
   * Runs work after so many milliseconds. Such a wait keeps the process alive, unless it is for
   * `background` work.
   */
  after(milliseconds: number, work: () => void, background?: 'background'): Timer;
  /**
   * Runs work when this clock shows a time. Calls `waiting` whenever it looks and the time has not
   * come.
   */
  at(time: number, work: () => void, waiting?: () => void): Timer;
  /** Runs work every so many milliseconds. It never keeps the process alive. */
  every(milliseconds: number, work: () => void): Timer;
}

/**
 * Longest single timer, in milliseconds: a timer cannot wait for a month, and does not notice that
 * the clock was set.
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
