import { type DurationWarning, numberOption, rangeError, wrongKind } from '../options.js';
import type { DefinedTasks } from './defined-tasks.js';
import type { Task } from './definition.js';
import type { NewTask, Schedule } from './new-task.js';
import { type Recurrence, readRecurrence, runsAfter, type ScheduleOptions } from './schedule.js';

/** The schedules that a manager has defined. */
export class DefinedSchedules {
  readonly #recurrences = new Map<string, Recurrence>();
  readonly #defined: DefinedTasks;
  readonly #warn: DurationWarning;

  constructor(defined: DefinedTasks, warn: DurationWarning) {
    this.#defined = defined;
    this.#warn = warn;
  }

  /**
   * Reads the options of a schedule. `add` requires its result, so that wrong options fail before
   * the task is defined.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT if an option is not valid or the name
   * is taken.
   */
  read<A extends unknown[]>(
    name: string,
    options: ScheduleOptions<A>,
  ): { recurrence: Recurrence; args: unknown[] } {
    const recurrence = readRecurrence(name, options, Date.now(), this.#warn);
    if (this.#recurrences.has(name))
      throw rangeError(
        `a schedule named '${name}' already exists in this TaskManager; use another name`,
      );
    const { args = [] }: { args?: unknown } = options;
    if (!Array.isArray(args))
      throw wrongKind(`args of schedule '${name}'`, args, 'a list of arguments');
    return { recurrence, args };
  }

  /**
   * Adds a schedule, and returns it in the form that an engine takes.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT if JSON cannot represent an argument,
   * or if the task belongs to another manager.
   */
  add<A extends unknown[]>(
    name: string,
    task: Task<A>,
    { recurrence, args }: { recurrence: Recurrence; args: unknown[] },
  ): Schedule {
    const definition = this.#defined.definitions.get(task.name);
    if (!definition)
      throw rangeError(`schedule '${name}': task '${task.name}' is not of this manager`);
    const prepare = (): NewTask => ({
      ...this.#defined.prepare(definition, args, undefined, 'scheduled'),
      schedule: name,
    });
    // Wrong arguments must fail now and not at the first run.
    prepare();
    this.#recurrences.set(name, recurrence);
    return { name, task: definition.name, prepare, ...recurrence };
  }

  /** Returns the runs of a schedule after its next one, in Unix milliseconds. */
  runsAfter(schedule: string, next: number, count: number): number[] {
    const checked = numberOption('count', count, 0, { max: 1000, integer: true });
    return runsAfter(this.#recurrences.get(schedule), next, checked);
  }
}
