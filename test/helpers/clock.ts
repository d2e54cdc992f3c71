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
