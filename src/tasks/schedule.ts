import { seconds } from '../option-set.js';
import { booleanOption, type DurationWarning, typeError, wrongType } from '../options.js';
import { optionsObject } from '../options-object.js';
import { readCron } from './cron.js';
import { nameOption } from './task-options.js';

/** The options that both kinds of schedule share. */
interface ScheduleHabits {
  /**
   * Whether a run catches up if runs were missed by more than a minute, for example because no
   * process was running. A single run stands for all missed ones. Default `true`.
   */
  catchUp?: boolean | undefined;
  /**
   * Whether a run starts although the task of the previous run has not ended. Default `false`: the
   * run is skipped.
   */
  overlap?: boolean | undefined;
}

interface ScheduleRule extends ScheduleHabits {
  /** Seconds between two runs, from 0.05 to ten years. Fractions are allowed. */
  every?: number | undefined;
  /** A cron expression with five fields, or six with seconds first. */
  cron?: string | undefined;
  /** IANA time zone of the cron expression. Default `UTC`. */
  timezone?: string | undefined;
}

/**
 * When a schedule fires, and with which arguments. `args` is required if the task has required
 * parameters.
 */
export type ScheduleOptions<A extends readonly unknown[]> = (
  | { every: number; cron?: undefined; timezone?: undefined }
  | { cron: string; every?: undefined; timezone?: string | undefined }
) &
  ScheduleHabits &
  ([] extends A ? { args?: A | undefined } : { args: A });

/** The checked recurrence rule of a schedule. */
export interface Recurrence {
  /** Milliseconds between two runs of a rule with `every`. Absent for a cron expression. */
  interval?: number | undefined;
  /** The rule as text. Different rules have different texts. */
  rule: string;
  catchUp: boolean;
  overlap: boolean;
  /**
   * Returns the first time after `from`, in Unix milliseconds, or `undefined` if the schedule never
   * runs again. An interval counts from the previous run, `last`, so that all processes compute
   * the same time.
   */
  next(from: number, last?: number): number | undefined;
}

/**
 * Shortest interval in seconds. Each run creates a task, so a shorter interval is probably
 * milliseconds given by mistake.
 */
export const shortestInterval = 0.05;

const everyOption = seconds({ default: 1, min: shortestInterval });

const usage = 'tasks.schedule(name, task, { every: 60 })';

/**
 * Checks the name and the task of a schedule before its options, so that an error about swapped
 * arguments names the first argument.
 *
 * @throws TypeError or RangeError with code INVALID_INPUT.
 */
export function checkScheduled(name: unknown, task: unknown): void {
  nameOption('name of a schedule', name, usage);
  if (typeof task === 'function') return;
  const where = `task of schedule '${String(name)}'`;
  if (
    typeof task !== 'object' ||
    task === null ||
    typeof (task as { prepare?: unknown }).prepare !== 'function'
  )
    throw wrongType(where, task, `a task that tasks.task() returned, or a handler, as in ${usage}`);
  if (!('with' in task))
    throw typeError(
      `${where} has options of with(), which a schedule cannot take; put them into its definition`,
    );
}

/**
 * Checks the options of a schedule, and returns its recurrence rule.
 *
 * @throws TypeError or RangeError if the rule is not valid.
 */
export function readRecurrence(
  name: string,
  options: ScheduleRule & { args?: unknown },
  from: number,
  warn: DurationWarning = () => undefined,
): Recurrence {
  const where = `schedule '${name}'`;
  const given = optionsObject<ScheduleRule & { args?: unknown }>(where, options, [
    'every',
    'cron',
    'timezone',
    'args',
    'catchUp',
    'overlap',
  ]);
  const { every, cron, timezone } = given;
  const habits = {
    catchUp: booleanOption('catchUp', given.catchUp, true),
    overlap: booleanOption('overlap', given.overlap, false),
  };
  if ((every === undefined) === (cron === undefined))
    throw typeError(
      `${where} has ${cron === undefined ? 'neither every nor cron' : 'every and cron'}; it ` +
        'must have one of them, ' +
        "such as { every: 60 } (seconds) or { cron: '0 3 * * *' }",
    );
  if (cron !== undefined) {
    const { timezone: zone = 'UTC' } = given;
    const next = readCron(where, cron, zone);
    return { ...habits, rule: `${cron.trim().replace(/\s+/g, ' ')} ${zone}`, next };
  }
  if (timezone !== undefined)
    throw typeError(`${where}: timezone applies to cron only; leave it out with every`);
  const interval = Math.round(everyOption(`every of ${where}`, every, warn) * 1000);
  // Counts from a fixed time, so that a late run does not delay the next one.
  return {
    ...habits,
    rule: `every ${interval / 1000}`,
    interval,
    next: (after, last = from) => last + (Math.floor((after - last) / interval) + 1) * interval,
  };
}

/** Returns the runs of a schedule after its next one, in Unix milliseconds. */
export function runsAfter(
  recurrence: Recurrence | undefined,
  next: number,
  count: number,
): number[] {
  const runs: number[] = [];
  for (let last = next; recurrence && runs.length < count; ) {
    const run = recurrence.next(last, last);
    if (run === undefined) break;
    runs.push(run);
    last = run;
  }
  return runs;
}
