import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { readTimetable, Scheduler } from '../../src/tasks/schedule.js';

const at = (iso: string): number => Date.parse(iso);

describe('a timetable', () => {
  it('counts an interval from one fixed moment, so that lateness does not add up', () => {
    const { next } = readTimetable('t', { every: 10 }, 1000);
    expect([next(1000), next(10_999), next(11_000), next(35_123)]).toEqual([11_000, 11_000, 21_000, 41_000]);
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

describe('Scheduler', () => {
  beforeEach(() => {
    jest.useFakeTimers({ now: 1000 });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('fires at each time while it is started, and not before or after', () => {
    const scheduler = new Scheduler();
    const fire = jest.fn();
    scheduler.add('t', readTimetable('t', { every: 10 }, 1000), fire);
    jest.advanceTimersByTime(30_000);
    expect(fire).not.toHaveBeenCalled();
    scheduler.start();
    jest.advanceTimersByTime(30_000);
    expect(fire).toHaveBeenCalledTimes(3);
    scheduler.stop();
    jest.advanceTimersByTime(30_000);
    expect(fire).toHaveBeenCalledTimes(3);
  });

  it('waits longer than a timer can', () => {
    const scheduler = new Scheduler();
    const fire = jest.fn();
    scheduler.add('t', readTimetable('t', { every: 30 * 86_400 }, 1000), fire);
    scheduler.start();
    jest.advanceTimersByTime(29 * 86_400_000);
    expect(fire).not.toHaveBeenCalled();
    jest.advanceTimersByTime(2 * 86_400_000);
    expect(fire).toHaveBeenCalledTimes(1);
    scheduler.stop();
  });

  it('refuses a second schedule under a name', () => {
    const scheduler = new Scheduler();
    const timetable = readTimetable('t', { every: 1 }, 0);
    scheduler.add('t', timetable, () => {});
    expect(() => scheduler.add('t', timetable, () => {})).toThrow(RangeError);
  });
});
