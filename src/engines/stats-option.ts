import { numberOption, optionsObject, outOfRange } from '../options.js';

/** How long statistics are kept if no option says so. */
export const keptStatistics = { minuteDays: 7, hourDays: 400 } as const;

/**
 * How long statistics are kept. What is older is answered from longer sums; those by day, and of
 * all time, stay.
 */
export interface StatsOptions {
  /** Days that the sums of each minute are kept, from 1 on. Default 7. */
  minuteDays?: number | undefined;
  /** Days that the sums of each hour are kept; at least `minuteDays`. Default 400. */
  hourDays?: number | undefined;
}

/**
 * Reads how long statistics are kept. Returns milliseconds. @throws TypeError or RangeError for a
 * wrong option.
 */
export function statsOption(value: StatsOptions | undefined): { minutes: number; hours: number } {
  const stats = optionsObject<StatsOptions>('stats', value, ['minuteDays', 'hourDays']);
  const minuteDays = numberOption('stats.minuteDays', stats.minuteDays, keptStatistics.minuteDays, {
    min: 1,
    max: 36_500,
    unit: 'days',
  });
  const hourDays = numberOption(
    'stats.hourDays',
    stats.hourDays,
    Math.max(minuteDays, keptStatistics.hourDays),
    {
      min: 1,
      max: 36_500,
      unit: 'days',
    },
  );
  if (hourDays < minuteDays)
    throw outOfRange(
      'stats.hourDays',
      hourDays,
      `at least stats.minuteDays, which is ${minuteDays}`,
    );
  return { minutes: minuteDays * 86_400_000, hours: hourDays * 86_400_000 };
}
