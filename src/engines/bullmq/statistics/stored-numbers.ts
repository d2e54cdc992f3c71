import { isObject } from '../connection/stored-object.js';

/**
 * The highest stored number that can be read: the last time of a `Date`. The sum of two such
 * numbers is a number again, and Redis can store it.
 */
export const maxStored = 8.64e15;

/** Whether a stored value is a number that can be read. */
export function isNumber(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= maxStored;
}

/** Whether a stored value is a count, or a time in Unix milliseconds, that can be read. */
export function isCount(value: unknown): value is number {
  return isNumber(value) && Number.isInteger(value);
}

/** Returns the readable counts of a stored object. */
export function countsOf(value: unknown): Record<string, number> {
  const entries = isObject(value) ? Object.entries(value) : [];
  return Object.fromEntries(
    entries.filter((entry): entry is [string, number] => isCount(entry[1])),
  );
}
