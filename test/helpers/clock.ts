import { jest } from '@jest/globals';

/**
 * A clock that a test turns, from noon of a day on; timers and all else keep running. Undo with
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
 * Stops the clocks, so that a slow machine lets no time pass between two requests. Timers keep
 * running. Undo with `jest.useRealTimers()` and `jest.restoreAllMocks()`.
 */
export function stoppedClock(): void {
  turnableClock();
  jest.spyOn(performance, 'now').mockReturnValue(performance.now());
}

/**
 * Lets time pass, as a host does whose clock is set meanwhile: `set` moves the clock, and `pass`
 * moves it together with `performance.now()`, which cannot be set. Undo with `jest.useRealTimers()`
 * and `jest.restoreAllMocks()`.
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

/** Lets time pass for `performance.now()` alone. Undo with `jest.restoreAllMocks()`. */
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
 * Holds each new timer of exactly so many milliseconds: it runs when the test calls it. All other
 * timers run by themselves. Undo with `jest.restoreAllMocks()`.
 */
export function heldTimers(timer: Timer, delay: number): (() => void)[] {
  const held: (() => void)[] = [];
  replaceTimer(timer, (start) => (run, milliseconds, ...args) => {
    if (milliseconds !== delay) return start(run, milliseconds, ...args);
    held.push(run);
    // The code under test can clear this timer, which does nothing.
    return start(() => {}, delay);
  });
  return held;
}

/**
 * Runs each new timer of exactly so many milliseconds after a twentieth of them. Undo with
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
