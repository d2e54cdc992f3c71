import type { RepeatOptions, RepeatStrategy } from 'bullmq';
import { readCron } from '../../../tasks/cron.js';

/** When a schedule fires: a cron expression in a time zone, or an interval in milliseconds. */
type Rule = { cron: string; timezone: string } | { interval: number };

/** Reads the text of a rule, such as `every 60` or `0 3 * * * Europe/Berlin`. */
function readRule(text: string): Rule {
  const every = /^every ([\d.]+)$/.exec(text)?.[1];
  if (every !== undefined) return { interval: Math.max(1, Math.round(Number(every) * 1000)) };
  const zone = text.lastIndexOf(' ');
  return { cron: text.slice(0, zone), timezone: text.slice(zone + 1) };
}

/**
 * Returns a rule as options of a BullMQ job scheduler. An interval is a pattern too, because
 * BullMQ's own `every` fires at once when it is added, and then at times of its own choice.
 *
 * @param first When it fires first; Unix milliseconds.
 */
export function repeatOptions(text: string, first: number): Omit<RepeatOptions, 'key'> {
  const rule = readRule(text);
  return 'cron' in rule
    ? { pattern: rule.cron, tz: rule.timezone }
    : { pattern: text, startDate: first };
}

/** Returns the interval of a rule in milliseconds, or undefined if it is a cron expression. */
export function intervalOf(text: string): number | undefined {
  const rule = readRule(text);
  return 'interval' in rule ? rule.interval : undefined;
}

/** Finds the next time of a scheduler with the same library that checks the rules. */
export const repeatStrategy: RepeatStrategy = (after, { pattern = '', tz = 'UTC', startDate }) => {
  const interval = intervalOf(pattern);
  if (interval !== undefined) return nextOfInterval(after, interval, Number(startDate ?? after));
  return readCron('scheduler', pattern, tz)(after);
};

/**
 * Returns the first time of an interval after `after`. Its times count from `first`, so that a late
 * run does not move the next one.
 */
function nextOfInterval(after: number, interval: number, first: number): number {
  if (after < first) return first;
  return first + (Math.floor((after - first) / interval) + 1) * interval;
}
