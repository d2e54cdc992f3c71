import { Cron } from 'croner';
import { rangeError, stringOption } from '../options.js';
import { quote } from '../show-value.js';

/** The fields of an expression with seconds, and the values that each accepts. */
const fields = [
  ['second', '0-59'],
  ['minute', '0-59'],
  ['hour', '0-23'],
  ['day of the month', '1-31 or L for the last'],
  ['month', '1-12 or JAN-DEC'],
  ['day of the week', '0-7 or SUN-SAT, where 0 and 7 are Sunday'],
] as const;

const nicknames: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

const usage =
  'Use five fields (minute hour day month weekday), such as "30 3 * * MON", or six with ' +
  'seconds first.';

/**
 * Reads a cron expression. Returns a function that returns the first run after a time, both in Unix
 * milliseconds.
 *
 * @param where The owner of the expression, for error messages.
 * @param timezone IANA name of the time zone.
 * @throws TypeError or RangeError that names the wrong part and what it accepts.
 */
export function readCron(
  where: string,
  expression: string,
  timezone: string,
): (after: number) => number | undefined {
  stringOption(`${where}: cron`, expression, '', {
    accepted: "a cron expression such as '0 3 * * *'",
  });
  stringOption(`${where}: timezone`, timezone, '', {
    accepted: "an IANA name such as 'Europe/Berlin'",
  });
  if (!isTimezone(timezone))
    throw rangeError(
      `${where}: timezone ${quote(timezone)} is not valid. Use an IANA name such as ` +
        '"Europe/Berlin".',
    );
  const refuse = (why: string, cause?: unknown): never => {
    throw rangeError(`${where}: cron ${quote(expression)} is not valid: ${why}`, {
      cause,
    });
  };
  const wrong = wrongForm(expression) ?? wrongField(expression);
  if (wrong) refuse(wrong.why, wrong.cause);
  try {
    const cron = new Cron(expression, { paused: true, timezone });
    const next = (after: number): number | undefined => cron.nextRun(new Date(after))?.getTime();
    if (next(Date.now()) === undefined)
      refuse('it never fires, because no date has all of its parts. Correct the day or the month.');
    return next;
  } catch (cause) {
    if (cause instanceof RangeError && cause.message.startsWith(where)) throw cause;
    return refuse(`${cause instanceof Error ? cause.message : String(cause)}. ${usage}`, cause);
  }
}

interface Wrong {
  why: string;
  cause?: unknown;
}

function isTimezone(timezone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: timezone });
    return true;
  } catch {
    return false;
  }
}

function wrongForm(expression: string): Wrong | undefined {
  const text = expression.trim();
  if (text.startsWith('@')) {
    const same = nicknames[text.toLowerCase()];
    return {
      why: same
        ? `words such as @daily are not supported. Use "${same}".`
        : `words such as @daily are not supported. ${usage}`,
    };
  }
  if (/^\d{4}-\d\d/.test(text))
    return {
      why:
        'it is a date. To run a task once, enqueue it with runAt: ' +
        'task.with({ runAt: new Date(…) }).enqueue(…).',
    };
  const count = text === '' ? 0 : text.split(/\s+/).length;
  if (count === 7) return { why: `it has seven fields, and a year is not supported. ${usage}` };
  if (count !== 5 && count !== 6)
    return {
      why:
        `it has ${count} ${count === 1 ? 'field' : 'fields'}. ${usage} For an interval use ` +
        'every: a number of seconds.',
    };
  return undefined;
}

/** Finds the wrong field: tests each field alone, with `*` for all others. */
function wrongField(expression: string): Wrong | undefined {
  const given = expression.trim().split(/\s+/);
  const named = fields.slice(fields.length - given.length);
  for (const [index, [name, accepted]] of named.entries()) {
    const flawOf = (value: string): unknown =>
      flawAlone(given.map((_field, other) => (other === index ? value : '*')));
    const value = given[index] ?? '';
    const cause = flawOf(value);
    if (cause !== undefined)
      return {
        why:
          `the ${name} must be ${accepted}; it is ${quote(value)}. ` +
          `${adviceOn(value, flawOf)}${usage}`,
        cause,
      };
  }
  return undefined;
}

/** Returns the error of an expression, or `undefined` if it is valid. */
function flawAlone(expression: readonly string[]): unknown {
  try {
    new Cron(expression.join(' '), { paused: true });
    return undefined;
  } catch (cause) {
    return cause;
  }
}

function adviceOn(value: string, flawOf: (value: string) => unknown): string {
  if (/^[a-z]{4,}$/i.test(value)) return 'Names have three letters. ';
  const [, first, last] = /^(\w+)-(\w+)$/.exec(value) ?? [];
  if (
    first !== undefined &&
    last !== undefined &&
    flawOf(first) === undefined &&
    flawOf(last) === undefined
  )
    return 'A range must not end before it begins: write a list of two ranges. ';
  return /^\d+$/.test(value)
    ? ''
    : 'Write a number, a list such as 1,2, a range such as 1-5, or a step such as */2. ';
}
