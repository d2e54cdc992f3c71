import type { z } from 'zod';
import { rangeError, typeError } from '../options.js';
import { isPlainObject } from '../plain-object.js';
import { grouped, quote } from '../show-value.js';

/**
 * A violation of a schema: where it is, a message that continues the name of the value, and whether
 * the type is wrong.
 */
export interface Flaw {
  /**
   * The keys that lead to the value, such as `['filter', 'status']`. Empty for the whole argument.
   */
  path: readonly PropertyKey[];
  /** The violated rule, such as `must be a whole number from 1 to 500`. */
  message: string;
  wrongType: boolean;
}

/**
 * Returns the first violation. An unknown key comes before all others, because a misspelt key also
 * makes a required key seem to be missing. For a union, returns the violation of its last member if
 * the value has the type of that member.
 */
export function flawOf({ issues }: Pick<z.core.$ZodError, 'issues'>): Flaw {
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  if (issue?.code === 'invalid_union') {
    const inner = issue.errors.at(-1)?.[0];
    const isOfThatKind =
      inner !== undefined && !(inner.code === 'invalid_type' && inner.path.length === 0);
    if (isOfThatKind) {
      const within = flawOf({ issues: [inner] });
      return { ...within, path: [...issue.path, ...within.path] };
    }
  }
  return {
    path: issue?.path ?? [],
    message: issue?.message ?? 'is not accepted',
    wrongType:
      issue?.code === 'invalid_type' ||
      issue?.code === 'unrecognized_keys' ||
      issue?.code === 'invalid_union',
  };
}

/**
 * Checks an argument against a schema, and returns the parsed value.
 *
 * @throws TypeError or RangeError with code INVALID_INPUT that names the member, its value and what
 * is accepted.
 */
export function checkArgument<S extends z.ZodType>(
  where: string,
  schema: S,
  given: unknown,
): z.output<S> {
  const { success, data, error } = schema.safeParse(given);
  if (success) return data;
  const { path, message, wrongType } = flawOf(error);
  const { name, value } = memberAt(given, path, where);
  // HTTP has no Dates, so the message of the schema does not name them.
  const also = path.at(-1) === 'from' || path.at(-1) === 'to' ? ', or a Date' : '';
  const text = message.startsWith('has ')
    ? `${name} ${message}`
    : `${name} is ${quote(value)}; it ${message}${also}`;
  throw wrongType ? typeError(text) : rangeError(text);
}

/**
 * Returns the member at a path and its name, such as `query.status[1]`. If a string stands for a
 * list with one item, it has no members.
 */
export function memberAt(
  given: unknown,
  path: readonly PropertyKey[],
  where = '',
): { name: string; value: unknown } {
  let [name, value] = [where, given];
  for (const key of path) {
    if (typeof value === 'string') break;
    name += typeof key === 'number' ? `[${key}]` : `${name === '' ? '' : '.'}${String(key)}`;
    value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
  }
  return { name, value };
}

/** Maximum number of items that are read from a list in an argument. */
const maxItems = 10_000;

/**
 * Copies a plain object from a caller. Each member is read once, and inherited members do not
 * count. Dates of the members `times` become ISO 8601 text, and lists are copied.
 *
 * @throws TypeError or RangeError with code INVALID_INPUT if the value is not a plain object, if a
 * list is too long, or if reading the object throws. The error says what is `accepted`.
 */
export function plainCopy(
  where: string,
  given: unknown,
  accepted: string,
  times: readonly string[] = [],
): Record<string, unknown> {
  let entries: [string, unknown][] | undefined;
  try {
    if (isPlainObject(given))
      entries = Object.entries(given).map(([key, value]) => [key, copyOf(value)]);
  } catch (cause) {
    throw typeError(`${where} throws an error when it is read`, { cause });
  }
  if (!entries) throw typeError(`${where} is ${quote(given)}; it must be ${accepted}`);
  const copy: Record<string, unknown> = Object.create(null);
  for (const [key, value] of entries) {
    if (value === tooLong)
      throw rangeError(`${where}.${key} is a list of more than ${grouped(maxItems)} items`);
    copy[key] =
      times.includes(key) && value instanceof Date && !Number.isNaN(value.getTime())
        ? value.toISOString()
        : value;
  }
  return copy;
}

const tooLong = Symbol('too long');

function copyOf(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  const { length } = value;
  return length > maxItems
    ? tooLong
    : Array.from({ length }, (_, index) => value[index] as unknown);
}

/**
 * Returns checked values with every member of their schema. An absent member is `undefined`, so
 * that a polluted `Object.prototype` sets it neither here nor in a copy.
 */
export function withAbsent<T extends object>({ shape }: { shape: object }, values: T): T {
  return { ...Object.fromEntries(Object.keys(shape).map((key) => [key, undefined])), ...values };
}

/** Removes members that are `undefined`, because they count as absent. */
export function withoutUndefined(given: Record<string, unknown>): Record<string, unknown> {
  for (const key of Object.keys(given)) if (given[key] === undefined) delete given[key];
  return given;
}

/**
 * Refuses members that are `undefined`, because they may be a mistake that would select more tasks.
 *
 * @throws TypeError if a member is `undefined`.
 */
export function refuseUndefined(where: string, given: Readonly<Record<string, unknown>>): void {
  for (const key of Object.keys(given))
    if (given[key] === undefined)
      throw typeError(`${where}.${key} is undefined; leave the key out, or give it a value`);
}
