import { type Logger as Pino, pino } from 'pino';
import type { ErrorCode } from './errors.js';
import { LoggedNames } from './logged-names.js';
import { grouped, kindOf, quote } from './show-value.js';

/** The part of a pino logger that is used; any pino instance or child fits. */
export type Logger = Pick<Pino, 'debug' | 'info' | 'warn' | 'error'>;

/**
 * The `code` of every error about a wrong option or argument, the same that the HTTP API answers.
 */
const argumentCode = 'INVALID_INPUT' satisfies ErrorCode;

/** Returns a TypeError that carries the `code` of a wrong option or argument. */
export function typeError(message: string, options?: ErrorOptions): TypeError {
  return Object.assign(new TypeError(message, options), { code: argumentCode });
}

/** Returns a RangeError that carries the `code` of a wrong option or argument. */
export function rangeError(message: string, options?: ErrorOptions): RangeError {
  return Object.assign(new RangeError(message, options), { code: argumentCode });
}

/** Returns the error for an option of the wrong type: its name, its value and what is accepted. */
export function wrongType(option: string, value: unknown, accepted: string): TypeError {
  return typeError(`${option} is ${quote(value)}; it must be ${accepted}`);
}

/** Returns the error for an option of the right type whose value is not accepted. */
export function outOfRange(option: string, value: unknown, accepted: string): RangeError {
  return rangeError(`${option} is ${quote(value)}; it must be ${accepted}`);
}

/**
 * Returns the error for an option that must be an object or a function. It shows only the kind of
 * the value: a string in this place may be a password, or a URL with one.
 */
export function wrongKind(option: string, value: unknown, accepted: string): TypeError {
  return typeError(`${option} is ${kindOf(value)}; it must be ${accepted}`);
}

/** What a number must be. */
export interface NumberRange {
  min?: number;
  max?: number;
  /** Refuse `min` itself. */
  above?: boolean;
  integer?: boolean;
  unit?: string;
  /** What else the option takes, for the message. */
  or?: string;
}

/** The longest duration in seconds. */
export const tenYears = 315_360_000;

/** A finite number within a range, or the default when it is `undefined`. */
export function numberOption<D extends number | undefined>(
  option: string,
  value: unknown,
  fallback: D,
  {
    min = 0,
    max = Number.MAX_SAFE_INTEGER,
    above = false,
    integer = false,
    unit,
    or,
  }: NumberRange = {},
): number | D {
  if (value === undefined) return fallback;
  const kind =
    (integer ? 'a whole number' : 'a number') + (unit === undefined ? '' : ` of ${unit}`);
  const to = above ? ', at most' : ' to';
  const accepted =
    `${kind} ${above ? 'above' : 'from'} ${grouped(min)}` +
    (max === Number.MAX_SAFE_INTEGER ? '' : `${to} ${grouped(max)}`) +
    (max === tenYears ? ' (ten years)' : '') +
    (or === undefined ? '' : `, or ${or}`);
  if (Number.isNaN(value))
    throw typeError(
      `${option} is NaN, which Number() returns for a variable that is not set; it must be ` +
        `${accepted}`,
    );
  if (typeof value !== 'number') throw wrongType(option, value, accepted);
  if (
    value < min ||
    value > max ||
    (above && value === min) ||
    (integer && !Number.isInteger(value))
  ) {
    throw outOfRange(option, value, accepted);
  }
  return value;
}

/** Called with a duration option whose value looks like milliseconds. */
export type DurationWarning = (option: string, seconds: number) => void;

/**
 * Warns of a number of seconds that looks like milliseconds: round thousands, unless it is a number
 * of whole hours.
 */
export function checkSeconds(
  option: string,
  seconds: number | undefined,
  warn: DurationWarning,
): void {
  if (seconds === undefined || seconds < 10_000 || seconds % 1000 !== 0) return;
  if (seconds >= 3_600_000 || seconds % 3600 !== 0) warn(option, seconds);
}

/** Makes a {@link DurationWarning} that writes one line for each option. */
export function durationWarnings(logger: Logger): DurationWarning {
  const warned = new LoggedNames();
  return (option, seconds) => {
    if (warned.add(option))
      logger.warn(
        { option, seconds, duration: inWords(seconds) },
        'duration looks like milliseconds but is in seconds',
      );
  };
}

function inWords(seconds: number): string {
  return seconds < 172_800
    ? `${(seconds / 3600).toFixed(1)} hours`
    : `${(seconds / 86_400).toFixed(1)} days`;
}

/** `true` or `false`, or the default when it is `undefined`. */
export function booleanOption(option: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  if (typeof value !== 'boolean') throw wrongType(option, value, 'true or false');
  return value;
}

/** What a string must be. */
export interface StringRules {
  pattern?: RegExp;
  accepted?: string;
  maxLength?: number;
}

/** A string of a pattern, or the default when it is `undefined`. */
export function stringOption<D extends string | undefined>(
  option: string,
  value: unknown,
  fallback: D,
  { pattern = /./s, accepted = 'a string that is not empty', maxLength = 256 }: StringRules = {},
): string | D {
  if (value === undefined) return fallback;
  if (typeof value !== 'string') throw wrongType(option, value, accepted);
  if (value.length > maxLength)
    throw outOfRange(
      option,
      value,
      `at most ${grouped(maxLength)} characters long; it has ${grouped(value.length)}`,
    );
  if (!pattern.test(value)) throw outOfRange(option, value, accepted);
  return value;
}

/**
 * The path of a file, or the default when it is `undefined`. A URL is refused, because SQLite would
 * take it for a path or read its query.
 */
export function fileOption<D extends string | undefined>(
  option: string,
  value: unknown,
  fallback: D,
  example = 'tasks.db',
): string | D {
  const accepted =
    `the path of a file, such as '${example}'; for a file: URL pass fileURLToPath(url), which ` +
    'node:url exports';
  if (value instanceof URL) throw wrongType(option, value.href, accepted);
  return stringOption(option, value, fallback, {
    pattern: /^(?!file:|[a-z][a-z0-9+.-]+:\/\/)./is,
    accepted,
    maxLength: 4096,
  });
}

/** A list of strings of a kind; empty when it is `undefined`. */
export function listOption(
  option: string,
  value: unknown,
  accepted: string,
  isItem: (item: string) => boolean,
): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw wrongType(option, value, `a list of ${accepted}`);
  for (const [index, item] of value.entries()) {
    if (typeof item !== 'string' || !isItem(item))
      throw typeError(
        `${option}[${index}] is ${quote(item)}; the option must be a list of ${accepted}`,
      );
  }
  return [...value];
}

/** `path` of every factory: `/` or segments without a slash at the end. */
export function pathOption(option: string, value: string | undefined): string {
  return stringOption(option, value, '/tasks', {
    pattern: /^(\/|(\/[A-Za-z0-9._~-]+)+)$/,
    accepted:
      "'/', or a path such as '/admin/jobs' that begins with a slash, does not end with one, " +
      'and has only letters, digits and . _ ~ -',
  });
}

let shared: Logger | undefined;

/**
 * The app's own pino, silence for `false`, or one default instance. An error in the logger never
 * affects a request.
 */
export function loggerOption(option: string, value: Logger | false | undefined): Logger {
  if (value === false) return silent;
  if (value === undefined) {
    shared ??= pino({ name: 'koa-taskflow' });
    return guarded(shared);
  }
  const levels = ['debug', 'info', 'warn', 'error'] as const;
  const isLogger =
    typeof value === 'object' &&
    value !== null &&
    levels.every((level) => typeof value[level] === 'function');
  if (!isLogger)
    throw wrongKind(
      option,
      value,
      'a pino logger, another object with the methods debug, info, warn and error, or false',
    );
  return guarded(value);
}

const ignore = (): void => {};
const silent: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function guarded(logger: Logger): Logger {
  const call = (level: keyof Logger) => (fields: object, message?: string) => {
    try {
      const done: unknown = logger[level](fields, message);
      if (done instanceof Promise) done.catch(ignore);
    } catch {
      // A log that cannot be written must not decide what a request is answered.
    }
  };
  return {
    debug: call('debug'),
    info: call('info'),
    warn: call('warn'),
    error: call('error'),
  } as Logger;
}

/** Checks the image that a page shows as its logo. */
export function logoOption(option: string, value: string | undefined): string | undefined {
  return stringOption(option, value, undefined, {
    pattern: /^(\/(?!\/)[!-~]*|data:image\/[a-z+.-]+[;,][!-~]*)$/,
    accepted: 'a path on this host, or a data:image/ URL',
    maxLength: 65_536,
  });
}
