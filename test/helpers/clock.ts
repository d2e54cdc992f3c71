import { jest } from '@jest/globals';

/** A clock that a test turns, from noon of a day on; timers and all else keep running. Undo with `jest.useRealTimers()`. */
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
 * Stops the clocks, so that a slow machine lets no time pass between two requests. Timers keep running. Undo with
 * `jest.useRealTimers()` and `jest.restoreAllMocks()`.
 */
export function stoppedClock(): void {
  turnableClock();
  jest.spyOn(performance, 'now').mockReturnValue(performance.now());
}

/**
 * Lets time pass, as a host does whose clock is set meanwhile: `set` moves the clock, and `pass` moves it together with
 * `performance.now()`, which cannot be set. Undo with `jest.useRealTimers()` and `jest.restoreAllMocks()`.
 */
export function settableClock(): { set(seconds: number): void; pass(seconds: number): void } {
  const { pass: set } = turnableClock();
  const steady = performance.now.bind(performance);
  let passed = 0;
  jest.spyOn(performance, 'now').mockImplementation(() => steady() + passed);
  return {
    set,
    pass(seconds) {
      passed += seconds * 1000;
      set(seconds);
    },
  };
}

/**
 * Holds each new timer of exactly so many milliseconds: it runs when the test calls it. All other timers run by themselves.
 * Undo with `jest.restoreAllMocks()`.
 */
export function heldTimers(start: 'setTimeout' | 'setInterval', delay: number): (() => void)[] {
  const held: (() => void)[] = [];
  const real = globalThis[start];
  jest.spyOn(globalThis, start).mockImplementation(((run: () => void, ms?: number, ...args: []) => {
    if (ms === delay) held.push(run);
    // The code that is tested can clear this timer, and it does nothing.
    return real(ms === delay ? () => {} : run, ms, ...args);
  }) as never);
  return held;
}
