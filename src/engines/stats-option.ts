import { number, type OptionsOf, optionSet } from '../option-set.js';
import { outOfRange } from '../options.js';

const days = { min: 1, max: 36_500, unit: 'days' };

const statsOptions = optionSet({
  /** Days that the sums of each minute are kept, from 1 on. Default 7. */
  minuteDays: number({ default: 7, ...days }),
  /** Days that the sums of each hour are kept; at least `minuteDays`. Default 400. */
  hourDays: number(days),
});

/**
 * How long statistics are kept. What is older is answered from longer sums; those by day, and of
 * all time, stay.
 */
export interface StatsOptions extends OptionsOf<typeof statsOptions> {}

/**
 * Reads how long statistics are kept. Returns milliseconds. @throws TypeError or RangeError for a
 * wrong option.
 */
export function statsOption(
  name: string,
  value?: StatsOptions,
): { minutes: number; hours: number } {
  const { minuteDays, hourDays = Math.max(minuteDays, 400) } = statsOptions.nested(name, value);
  if (hourDays < minuteDays)
    throw outOfRange(
      `${name}.hourDays`,
      hourDays,
      `at least ${name}.minuteDays, which is ${minuteDays}`,
    );
  return { minutes: minuteDays * 86_400_000, hours: hourDays * 86_400_000 };
}
