import { describe, expect, it } from '@jest/globals';
import { readTimetable } from '../../src/tasks/schedule.js';

const at = (iso: string): number => Date.parse(iso);

describe('a timetable', () => {
  it('counts an interval from one fixed moment, so that lateness does not add up', () => {
    const { next } = readTimetable('t', { every: 10 }, 1000);
    expect([next(1000), next(10_999), next(11_000), next(35_123)]).toEqual([11_000, 11_000, 21_000, 41_000]);
  });

  it('counts an interval from the run before, whatever process asks', () => {
    const { next } = readTimetable('t', { every: 10 }, 1234);
    expect([next(25_000, 5000), next(5000, 5000), next(14_999, 5000)]).toEqual([35_000, 15_000, 15_000]);
  });

  it('follows a cron expression in its own time zone, also over a change of the clocks', () => {
    const { next } = readTimetable('t', { cron: '0 3 * * *', timezone: 'Europe/Berlin' }, 0);
    expect(next(at('2026-03-27T12:00:00Z'))).toBe(at('2026-03-28T02:00:00Z'));
    expect(next(at('2026-03-28T12:00:00Z'))).toBe(at('2026-03-29T01:00:00Z'));
    expect(next(at('2026-10-25T12:00:00Z'))).toBe(at('2026-10-26T02:00:00Z'));
  });

  it.each([
    ['neither every nor cron', {}, TypeError],
    ['both', { every: 1, cron: '* * * * *' }, TypeError],
    ['an interval of 0', { every: 0 }, RangeError],
    ['an expression that is none', { cron: 'soon' }, RangeError],
    ['a time zone that is none', { cron: '* * * * *', timezone: 'Mars/Olympus' }, RangeError],
    ['a time zone without cron', { every: 1, timezone: 'UTC' }, TypeError],
    ['an unknown option', { every: 1, evry: 1 }, TypeError],
  ])('is refused with %s', (_case, options, Kind) => {
    expect(() => readTimetable('t', options, 0)).toThrow(Kind);
  });
});
