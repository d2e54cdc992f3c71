import { setImmediate, setTimeout } from 'node:timers';
import type { Clock, Timer } from '../engines/embedded/clock.js';
import { taskIds } from '../tasks/task-id.js';

interface Alarm {
  time: number;
  work(): void;
}

/**
 * A clock that a test turns: what waits for a time runs when the clock is turned to it, and what is
 * done every so often never runs. Short waits are real ones. The timers come from `node:timers`, so
 * that a test may replace the global ones.
 */
export class TestClock implements Clock {
  readonly newTaskId = taskIds(() => this.#now);
  readonly #alarms = new Set<Alarm>();
  #now: number;

  constructor(now: number) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  toProcessTime(time: number): number {
    return Date.now() + time - this.#now;
  }

  nextTurn(work: () => void): void {
    setImmediate(work);
  }

  after(milliseconds: number, work: () => void, background?: 'background'): Timer {
    const timer = setTimeout(work, milliseconds);
    if (background) timer.unref();
    return { clear: () => clearTimeout(timer) };
  }

  at(time: number, work: () => void): Timer {
    const alarm = { time, work };
    this.#alarms.add(alarm);
    return { clear: () => void this.#alarms.delete(alarm) };
  }

  every(): Timer {
    return { clear() {} };
  }

  /** The first time that something waits for. */
  next(): number | undefined {
    return this.#alarms.size === 0
      ? undefined
      : Math.min(...[...this.#alarms].map(({ time }) => time));
  }

  /** Turns the clock on to a time, and runs what waits for it. It is never turned back. */
  turnTo(time: number): void {
    this.#now = Math.max(this.#now, time);
    const due = [...this.#alarms]
      .filter((alarm) => alarm.time <= this.#now)
      .sort((a, b) => a.time - b.time);
    for (const alarm of due) if (this.#alarms.delete(alarm)) alarm.work();
  }
}
