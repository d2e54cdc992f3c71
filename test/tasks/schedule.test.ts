import { describe, expect, it } from '@jest/globals';
import { readRecurrence } from '../../src/tasks/schedule.js';

const at = (iso: string): number => Date.parse(iso);

describe('a recurrence rule', () => {
  it('counts intervals from a fixed time, so that delays do not add up', () => {
    const { next } = readRecurrence('t', { every: 10 }, 1000);
    expect([next(1000), next(10_999), next(11_000), next(35_123)]).toEqual([
      11_000, 11_000, 21_000, 41_000,
    ]);
  });

  it('counts an interval from the previous run in every process', () => {
    const { next } = readRecurrence('t', { every: 10 }, 1234);
    expect([next(25_000, 5000), next(5000, 5000), next(14_999, 5000)]).toEqual([
      35_000, 15_000, 15_000,
    ]);
  });

  it('follows a cron expression in its time zone, also across a clock change', () => {
    const { next } = readRecurrence('t', { cron: '0 3 * * *', timezone: 'Europe/Berlin' }, 0);
    expect(next(at('2026-03-27T12:00:00Z'))).toBe(at('2026-03-28T02:00:00Z'));
    expect(next(at('2026-03-28T12:00:00Z'))).toBe(at('2026-03-29T01:00:00Z'));
    expect(next(at('2026-10-25T12:00:00Z'))).toBe(at('2026-10-26T02:00:00Z'));
  });

  it.each([
    ['neither every nor cron', {}, TypeError],
    ['both', { every: 1, cron: '* * * * *' }, TypeError],
    ['an interval of 0', { every: 0 }, RangeError],
    ['an empty expression', { cron: '' }, RangeError],
    ['an expression that is a number', { cron: 5 as unknown as string }, TypeError],
    [
      'a time zone that is null',
      { cron: '* * * * *', timezone: null as unknown as string },
      TypeError,
    ],
    ['a time zone without cron', { every: 1, timezone: 'UTC' }, TypeError],
    ['an unknown option', { every: 1, evry: 1 }, TypeError],
  ])('is rejected with %s', (_case, options, Kind) => {
    expect(() => readRecurrence('t', options, 0)).toThrow(Kind);
  });

  it('is rejected with an unknown time zone, and the error names the zone', () => {
    const read = () => readRecurrence('t', { cron: '* * * * *', timezone: 'Mars/Olympus' }, 0);
    expect(read).toThrow(RangeError);
    expect(read).toThrow(/timezone "Mars\/Olympus" is not valid/);
  });

  it.each([
    ['soon', /has 1 field\b/],
    ['* * * *', /has 4 fields/],
    ['0 0 1 1 * * 2030', /seven fields/],
    ['@daily', /Use "0 0 \* \* \*"/],
    ['@sometimes', /@daily are not supported/],
    ['2026-12-24T18:00:00Z', /is a date.*runAt/],
    ['60 * * * *', /minute must be 0-59/],
    ['0 99 * * *', /hour must be 0-23/],
    ['61 0 0 * * *', /second must be 0-59/],
    ['0 0 0 * *', /day of the month must be 1-31/],
    ['0 0 * 13 *', /month must be 1-12/],
    ['0 0 * FOO *', /month must be .*"FOO"/],
    ['0 0 * * 8', /day of the week must be 0-7/],
    ['5-1 * * * *', /minute must be .*"5-1"/],
    ['*/0 * * * *', /minute must be .*"\*\/0"/],
    ['0 0 31 2 *', /never fires/],
    ['0 0 31 4,6,9,11 *', /never fires/],
  ])('is rejected with the cron %j, and the error gives the reason', (cron, why) => {
    expect(() => readRecurrence('t', { cron }, 0)).toThrow(RangeError);
    expect(() => readRecurrence('t', { cron }, 0)).toThrow(why);
  });

  it.each([
    '0 3 * * *',
    ' 0  3 * * * ',
    '*/15 9-17 * * MON-FRI',
    '30 0 3 1,15 * *',
    '0 0 L * *',
    '0 0 29 2 *',
    '0 0 * * 7',
  ])('accepts the cron %j', (cron) => {
    expect(readRecurrence('t', { cron }, 0).next(at('2026-11-29T00:00:00Z'))).toEqual(
      expect.any(Number),
    );
  });
});
