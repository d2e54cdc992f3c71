import { setImmediate, setTimeout } from 'node:timers';
import type { Clock, Timer } from '../engines/embedded/clock.js';
import { taskIds } from '../tasks/task-id.js';

interface Appointment {
  time: number;
  work(): void;
}

/**
 * A clock that a test moves. Work that waits for a time runs when the clock reaches that time, and
 * periodic work never runs. Short waits are real. The timers come from `node:timers`, so that a
 * test may replace the global ones.
 */
export class TestClock implements Clock {
  readonly newTaskId = taskIds(() => this.#now);
  readonly #appointments = new Set<Appointment>();
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
    const appointment = { time, work };
    this.#appointments.add(appointment);
    return { clear: () => void this.#appointments.delete(appointment) };
  }

  every(): Timer {
    return { clear() {} };
  }

  /** Returns the earliest time that work waits for. */
  next(): number | undefined {
    return this.#appointments.size === 0
      ? undefined
      : Math.min(...[...this.#appointments].map(({ time }) => time));
  }

  /** Moves the clock forward to a time and runs the work that is due. It never moves back. */
  turnTo(time: number): void {
    this.#now = Math.max(this.#now, time);
    const due = [...this.#appointments]
      .filter(({ time }) => time <= this.#now)
      .sort((a, b) => a.time - b.time);
    for (const each of due) if (this.#appointments.delete(each)) each.work();
  }
}
