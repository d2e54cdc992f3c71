/*
 * The options of a public function are declared once, as a set of rows: the name, its TSDoc, and a
 * reader that checks a value and has the default. `OptionsOf` derives the type that a user passes,
 * with the TSDoc of the rows, and `SettingsOf` the type of the checked values. The set refuses
 * names that it does not have.
 */
import {
  booleanOption,
  checkSeconds,
  type DurationWarning,
  durationWarnings,
  type Logger,
  loggerOption,
  type NumberRange,
  numberOption,
  type StringRules,
  stringOption,
  tenYears,
} from './options.js';
import { optionsObject } from './options-object.js';

/**
 * Reads an option. Takes its name for error messages and its value. Returns the checked value, or
 * the default if the value is `undefined`. Throws a TypeError or RangeError for a wrong value.
 */
export type Option<In, Out> = (name: string, value: In | undefined, warn: DurationWarning) => Out;

type Rows = Record<string, (name: string, value: never, warn: DurationWarning) => unknown>;

type Given<R extends Rows> = { [K in keyof R]?: Parameters<R[K]>[1] };
type Read<R extends Rows> = { [K in keyof R]: ReturnType<R[K]> };

/** The type of the options that a user passes. All of them are optional. */
export type OptionsOf<S> = S extends OptionSet<infer R> ? Given<R> : never;

/**
 * A second base of an interface of options. With a single base, a compiler message about a wrong
 * option shows all rows instead of the name of the interface.
 */
export type Named = Record<never, never>;

/** The checked options, each with its value or its default. */
export type SettingsOf<S> = S extends OptionSet<infer R> ? Read<R> : never;

/** How errors and warnings name the options of a set. */
interface Place {
  /** What has the options, such as `task 'send_email'`. */
  where: string;
  /** Stands before the name of each option. */
  prefix?: string;
  /** Stands after the name of each option. */
  suffix?: string;
  /** Whether what has the options is an option itself, such as `limits`. */
  isOption?: boolean;
  /** Called for a duration that looks like milliseconds. Default: the option `logger` logs it. */
  warn?: DurationWarning | undefined;
}

/** Options that were declared with {@link optionSet}. */
export interface OptionSet<R extends Rows> {
  readonly rows: R;
  /**
   * Checks the options and fills in the defaults.
   *
   * @throws TypeError or RangeError with code INVALID_INPUT for a wrong or unknown option.
   */
  read(options: Given<R> | undefined, place: Place): Read<R>;
  /** Reads the options as an option of another set, which names them such as `limits.logLines`. */
  nested(name: string, options: Given<R> | undefined, warn?: DurationWarning): Read<R>;
}

/** Declares a set of options. */
export function optionSet<R extends Rows>(rows: R): OptionSet<R> {
  const names = Object.keys(rows);
  const readers = Object.entries(rows);
  const read: OptionSet<R>['read'] = (options, place) => {
    const { where, prefix = '', suffix = '', isOption, warn } = place;
    const given = optionsObject<Record<string, unknown>>(where, options, names, isOption);
    const own: DurationWarning = (option, seconds) =>
      durationWarnings(loggerOption('logger', given.logger as Logger))(option, seconds);
    const settings: Record<string, unknown> = {};
    for (const [name, reader] of readers)
      settings[name] = reader(`${prefix}${name}${suffix}`, given[name] as never, warn ?? own);
    return settings as Read<R>;
  };
  return {
    rows,
    read,
    nested: (name, options, warn) =>
      read(options, { where: name, prefix: `${name}.`, isOption: true, warn }),
  };
}

interface SecondsRules {
  /** Whether 0 is accepted. */
  zero?: boolean;
  /** The shortest duration; any above zero if it is absent. */
  min?: number;
  max?: number;
}

/** Makes a row of numbers. */
export function number<D extends number | undefined = undefined>({
  default: fallback,
  ...range
}: NumberRange & { default?: D }): Option<number, number | D> {
  return (name, value) => numberOption(name, value, fallback as D, range);
}

/** Makes a row of whole numbers. */
export function whole<D extends number | undefined = undefined>(
  range: NumberRange & { default?: D } = {},
): Option<number, number | D> {
  return number({ ...range, integer: true });
}

/**
 * Makes a row of durations in seconds, above zero and at most ten years; fractions are allowed.
 * Warns of a value that looks like milliseconds.
 */
export function seconds<D extends number | undefined = undefined>({
  zero = false,
  min = 0,
  max = tenYears,
  ...rest
}: SecondsRules & { default?: D } = {}): Option<number, number | D> {
  const read = number({ ...rest, min, above: !zero && min === 0, max, unit: 'seconds' });
  return (name, value, warn) => {
    const result = read(name, value, warn);
    checkSeconds(name, value, warn);
    return result;
  };
}

/** Makes a row of strings. */
export function text<D extends string | undefined = undefined>({
  default: fallback,
  ...rules
}: StringRules & { default?: D } = {}): Option<string, string | D> {
  return (name, value) => stringOption(name, value, fallback as D, rules);
}

/** Makes a row of `true` or `false`. */
export function flag(fallback: boolean): Option<boolean, boolean> {
  return (name, value) => booleanOption(name, value, fallback);
}
