import { type Named, number, type OptionsOf, optionSet } from '../option-set.js';
import { outOfRange } from '../options.js';
import { grouped } from '../show-value.js';

const days = { min: 1, max: 36_500, unit: 'days' };

const statsOptions = optionSet({
  /** Days for which the statistics of each minute are kept, 1 to 36,500. Default 7. */
  minuteDays: number({ default: 7, ...days }),
  /** Days for which the statistics of each hour are kept, at least `minuteDays`. Default 400. */
  hourDays: number(days),
});

/**
 * How long statistics are kept. Older ones are answered per hour or day instead. Statistics per day
 * and of all time are kept forever.
 */
export interface StatsOptions extends OptionsOf<typeof statsOptions>, Named {}

/**
 * Reads how long statistics are kept, and returns it in milliseconds.
 *
 * @throws TypeError or RangeError if an option is not valid.
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
      `at least ${name}.minuteDays, which is ${grouped(minuteDays)}`,
    );
  return { minutes: minuteDays * 86_400_000, hours: hourDays * 86_400_000 };
}
