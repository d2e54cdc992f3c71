import type { RepeatOptions, RepeatStrategy } from 'bullmq';
import { readCron } from '../../../tasks/cron.js';
import { idOfJob } from '../jobs/job-ids.js';

/**
 * Returns the id of the job scheduler of a schedule. It has no colons, because BullMQ builds ids of
 * jobs from it.
 */
export function schedulerId(name: string): string {
  return encodeURIComponent(name);
}

/**
 * Returns the interval of a rule such as `every 60` in milliseconds, or undefined if the rule is a
 * cron expression with a time zone, such as `0 3 * * * Europe/Berlin`.
 */
export function intervalOf(rule: string): number | undefined {
  const every = /^every ([\d.]+)$/.exec(rule)?.[1];
  return every === undefined ? undefined : Math.max(1, Math.round(Number(every) * 1000));
}

/**
 * Returns a rule as options of a BullMQ job scheduler. An interval is a pattern too, because
 * BullMQ's own `every` fires at once when it is added, and then at times of its own choice.
 *
 * @param first When it fires first; Unix milliseconds.
 */
export function repeatOptions(rule: string, first: number): Omit<RepeatOptions, 'key'> {
  if (intervalOf(rule) !== undefined) return { pattern: rule, startDate: first };
  const zone = rule.lastIndexOf(' ');
  return { pattern: rule.slice(0, zone), tz: rule.slice(zone + 1) };
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

/** Returns the id of the task of one run, which is the same each time. */
export function idOfRun(schedule: string, due: number): string {
  return idOfJob(`${schedule}\0${due}`, due);
}
