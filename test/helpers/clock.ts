import { jest } from '@jest/globals';

/**
 * Replaces the clock by one that a test moves, starting at noon. Timers keep running. Undo with
 * `jest.useRealTimers()`.
 */
export function turnableClock(): { pass(seconds: number): void } {
  jest.useFakeTimers({
    now: Date.parse('2026-03-01T12:00:00Z'),
    doNotFake: [
      'nextTick',
      'setImmediate',
      'clearImmediate',
      'queueMicrotask',
      'setTimeout',
      'clearTimeout',
      'setInterval',
      'clearInterval',
      'performance',
    ],
  });
  return { pass: (seconds) => void jest.setSystemTime(Date.now() + seconds * 1000) };
}

/**
 * Stops the clocks, so that no time passes between two requests on a slow machine. Timers keep
 * running. Undo with `jest.useRealTimers()` and `jest.restoreAllMocks()`.
 */
export function stoppedClock(): void {
  turnableClock();
  jest.spyOn(performance, 'now').mockReturnValue(performance.now());
}

/**
 * Simulates a host with a clock that is set: `set` moves the clock alone, and `pass` moves it
 * together with `performance.now()`, which cannot be set. Undo with `jest.useRealTimers()` and
 * `jest.restoreAllMocks()`.
 */
export function settableClock(): { set(seconds: number): void; pass(seconds: number): void } {
  const { pass: set } = turnableClock();
  const steady = steadyClock();
  return {
    set,
    pass(seconds) {
      steady.pass(seconds);
      set(seconds);
    },
  };
}

/** Moves only `performance.now()` forward. Undo with `jest.restoreAllMocks()`. */
export function steadyClock(): { pass(seconds: number): void } {
  const now = performance.now.bind(performance);
  let passed = 0;
  jest.spyOn(performance, 'now').mockImplementation(() => now() + passed);
  return {
    pass(seconds) {
      passed += seconds * 1000;
    },
  };
}

type Timer = 'setTimeout' | 'setInterval';
type Start = (run: () => void, milliseconds?: number, ...args: unknown[]) => unknown;

function replaceTimer(timer: Timer, replace: (start: Start) => Start): void {
  const start = globalThis[timer] as Start;
  jest.spyOn(globalThis, timer).mockImplementation(replace(start) as never);
}

/**
 * Holds each new timer with exactly this delay until the test fires it. All other timers run as
 * usual. Undo with `jest.restoreAllMocks()`.
 */
export function heldTimers(timer: Timer, delay: number): (() => void)[] {
  const held: (() => void)[] = [];
  replaceTimer(timer, (start) => (run, milliseconds, ...args) => {
    if (milliseconds !== delay) return start(run, milliseconds, ...args);
    held.push(run);
    // If the code under test clears this timer, nothing happens.
    return start(() => {}, delay);
  });
  return held;
}

/**
 * Runs each new timer with exactly this delay after a twentieth of the delay. Undo with
 * `jest.restoreAllMocks()`.
 */
export function quickTimers(timer: Timer, delay: number): void {
  replaceTimer(
    timer,
    (start) =>
      (run, milliseconds, ...args) =>
        start(run, milliseconds === delay ? delay / 20 : milliseconds, ...args),
  );
}
