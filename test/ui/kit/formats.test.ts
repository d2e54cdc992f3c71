import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { duration, percent, shortId } from '../../../src/ui/kit/formats.js';

afterEach(() => {
  Reflect.deleteProperty(globalThis, 'navigator');
  jest.resetModules();
});

describe('a formatter of the dashboard', () => {
  it.each([
    [null, ''],
    [0, '0 ms'],
    [0.84, '840 ms'],
    [1.26, '1.2 s'],
    [59.99, '59.9 s'],
    [364, '6m 4s'],
    [7500, '2h 05m'],
    [273_600, '3d 4h'],
    [-3, '0 ms'],
  ])('shows %s seconds as %j', (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });

  it.each([
    [null, '—'],
    [1, '100 %'],
    [0.99999, '99.9 %'],
    [0.914, '91.4 %'],
    [0, '0 %'],
  ])('shows a share of %s as %j, and 100 % only without failures', (share, text) => {
    expect(percent(share)).toBe(text);
  });

  it('shows both ends of an id', () => {
    expect(shortId('0198f3aa-1111-7222-8333-44445555c2d4')).toBe('0198f3aa…c2d4');
  });

  it.each([
    'en',
    'en-US',
    'en-GB',
    'en-AU',
    'en-CA',
    'en-NZ',
    'en-IE',
    'en-IN',
    'de',
    'de-CH',
    'fr',
    'fi',
    'fa',
  ])('formats numbers and clocks in %s like Intl', async (language) => {
    Object.defineProperty(globalThis, 'navigator', { value: { language }, configurable: true });
    const { axisTime, plural, time, whole } = await import('../../../src/ui/kit/formats.js');
    const numbers = new Intl.NumberFormat(language);
    for (const n of [0, 7, 999, 1000, 10_000, 100_000, 1_234_567]) {
      expect(whole(n)).toBe(numbers.format(n));
      expect(plural(n, 'task')).toBe(`${numbers.format(n)} task${n === 1 ? '' : 's'}`);
    }
    const clock = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
    const [short, long] = [clock, { ...clock, second: '2-digit' } as const].map(
      (options) => new Intl.DateTimeFormat(language, options),
    );
    // Each hour of a day in winter and of a day in summer.
    for (let hour = 0; hour < 24; hour++) {
      for (const date of [new Date(2026, 0, 5, hour, 7, 9), new Date(2026, 6, 5, hour, 59, 0)]) {
        expect(time(date.toISOString(), date.getTime(), undefined)).toBe(long?.format(date));
        expect(axisTime(date.toISOString(), undefined, false)).toBe(short?.format(date));
      }
    }
  });

  it('distinguishes days in the local zone and in another zone', async () => {
    const { isSameDay } = await import('../../../src/ui/kit/formats.js');
    const midnight = new Date(2026, 2, 1).getTime();
    expect([
      isSameDay(midnight, midnight + 1000, undefined),
      isSameDay(midnight - 1000, midnight, undefined),
    ]).toEqual([true, false]);
    const inTokyo = Date.parse('2026-03-01T15:00:00Z');
    expect([
      isSameDay(inTokyo, inTokyo + 1000, 'Asia/Tokyo'),
      isSameDay(inTokyo - 1000, inTokyo, 'Asia/Tokyo'),
    ]).toEqual([true, false]);
  });

  it('shows how many slots of a process are held', async () => {
    const { stuckText } = await import('../../../src/ui/kit/formats.js');
    expect(stuckText(3, 10)).toBe('3 of 10 slots held by handlers that did not stop');
    expect(stuckText(1, 1)).toBe('1 of 1 slot held by handlers that did not stop');
  });
});
