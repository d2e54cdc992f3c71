import { Cron } from 'croner';
import { optionsObject, secondsOption, stringOption } from '../options.js';

interface ScheduleRule {
  /** Seconds between two runs. */
  every?: number | undefined;
  /** Five fields, or six with seconds first. */
  cron?: string | undefined;
  /** IANA time zone of the cron expression. Default `UTC`. */
  timezone?: string | undefined;
}

/** When a schedule fires, and with which arguments; `args` is required when the task has required parameters. */
export type ScheduleOptions<A extends readonly unknown[]> = (
  | { every: number; cron?: undefined; timezone?: undefined }
  | { cron: string; every?: undefined; timezone?: string | undefined }
) &
  ([] extends A ? { args?: A | undefined } : { args: A });

/** Says when a schedule fires next. */
export interface Timetable {
  /** First time after `from`, in Unix milliseconds; `undefined` when there is none. */
  next(from: number): number | undefined;
}

/** Checks a schedule's options and makes its timetable. @throws TypeError or RangeError for a rule that cannot be. */
export function readTimetable(name: string, options: ScheduleRule & { args?: unknown }, from: number): Timetable {
  const where = `schedule '${name}'`;
  const { every, cron, timezone } = optionsObject<ScheduleRule & { args?: unknown }>(where, options, ['every', 'cron', 'timezone', 'args']);
  if ((every === undefined) === (cron === undefined)) throw new TypeError(`${where} needs exactly one of every (seconds) and cron`);
  if (cron !== undefined) return cronTable(where, cron, timezone ?? 'UTC');
  if (timezone !== undefined) throw new TypeError(`${where}: timezone belongs to cron, not to every`);
  const step = Math.max(1, Math.round(secondsOption('every', every, 1) * 1000));
  // Counted from one fixed moment, so that lateness of one run never moves the next.
  return { next: (after) => from + (Math.floor((after - from) / step) + 1) * step };
}

function cronTable(where: string, expression: string, timezone: string): Timetable {
  stringOption('timezone', timezone, undefined);
  try {
    const cron = new Cron(stringOption('cron', expression, ''), { paused: true, timezone });
    const next = (after: number): number | undefined => cron.nextRun(new Date(after))?.getTime();
    next(Date.now());
    return { next };
  } catch (cause) {
    throw new RangeError(
      `${where}: cron ${JSON.stringify(expression)} in timezone ${JSON.stringify(timezone)} is not a rule that can be followed`,
      { cause },
    );
  }
}

/** setTimeout fires at once past this. */
const longestTimer = 2 ** 31 - 1;

interface Entry {
  timetable: Timetable;
  fire(): void;
  timer?: NodeJS.Timeout | undefined;
}

/** Fires schedules in this process while it is started. */
export class Scheduler {
  readonly #entries = new Map<string, Entry>();
  #started = false;

  add(name: string, timetable: Timetable, fire: () => void): void {
    if (this.#entries.has(name)) throw new RangeError(`a schedule named '${name}' exists already`);
    const entry: Entry = { timetable, fire };
    this.#entries.set(name, entry);
    if (this.#started) this.#wait(entry, timetable.next(Date.now()));
  }

  start(): void {
    this.#started = true;
    for (const entry of this.#entries.values()) this.#wait(entry, entry.timetable.next(Date.now()));
  }

  stop(): void {
    this.#started = false;
    for (const entry of this.#entries.values()) clearTimeout(entry.timer);
  }

  #wait(entry: Entry, at: number | undefined): void {
    if (at === undefined) return;
    entry.timer = setTimeout(
      () => {
        if (Date.now() < at) return this.#wait(entry, at);
        entry.fire();
        this.#wait(entry, entry.timetable.next(Math.max(at, Date.now() - 1)));
      },
      Math.min(Math.max(0, at - Date.now()), longestTimer),
    );
  }
}
