import { isPlainObject } from '../plain-object.js';
import { kindOf, quote } from '../show-value.js';
import { isName, nameAccepted } from '../tasks/names.js';

/*
 * Checks of the client's arguments that the server cannot make: an address or a body does not
 * contain a value that is `undefined`, and an id such as '..' makes the address of another
 * resource.
 */

function invalid(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'INVALID_INPUT' as const });
}

/**
 * Encodes one segment of an address.
 *
 * @throws TypeError with code INVALID_INPUT if the value cannot be one segment.
 */
export function segment(name: string, value: unknown): string {
  // A URL with '.' or '..' as a part is the URL of another path.
  if (typeof value !== 'string' || value === '.' || value === '..' || !isName(value))
    throw invalid(`${name} is ${quote(value)}; it must be ${nameAccepted}`);
  return encodeURIComponent(value);
}

/**
 * Returns the members of an object. A Map or a promise has no members of its own, and an object can
 * inherit members from a class or from an object of defaults. The request would lack these values.
 *
 * @throws TypeError with code INVALID_INPUT for anything but a plain object.
 */
export function membersOf(name: string, value: unknown): [key: string, value: unknown][] {
  if (!isPlainObject(value))
    throw invalid(`${name} is ${kindOf(value)}; it must be a plain object`);
  return Object.entries(value);
}

/** @throws TypeError with code INVALID_INPUT if an object has another key than the known ones. */
export function onlyKeys(name: string, value: object | undefined, known: readonly string[]): void {
  if (value === undefined) return;
  for (const [key] of membersOf(name, value))
    if (!known.includes(key))
      throw invalid(`${name} has an unknown key ${quote(key)}; allowed: ${known.join(', ')}`);
}

/**
 * Returns a body that a request must have.
 *
 * @throws TypeError with code INVALID_INPUT if it is absent.
 */
export function requiredBody<T extends object>(value: T, example: string): T {
  if (value === undefined)
    throw invalid(`body is undefined; it must be an object such as ${example}`);
  return value;
}

/**
 * Returns the text of a Date or of another value of a query.
 *
 * @throws TypeError with code INVALID_INPUT for an invalid Date.
 */
export function textOf(name: string, value: unknown): string {
  if (!(value instanceof Date)) return String(value);
  if (Number.isNaN(value.getTime())) throw invalid(`${name} is an invalid Date`);
  return value.toISOString();
}

/** @throws TypeError with code INVALID_INPUT if `deleteHistory` does not accept the time. */
export function checkTime(name: string, value: unknown): void {
  if (typeof value !== 'string' && !(value instanceof Date))
    throw invalid(
      `${name} is ${kindOf(value)}; it must be a Date, or a string such as '-30d' or ` +
        "'2026-11-03T14:00:00Z'",
    );
}

/**
 * @throws TypeError with code INVALID_INPUT for a value that is not an AbortSignal of any realm.
 */
export function checkSignal(value: unknown): void {
  const isSignal =
    typeof value === 'object' &&
    value !== null &&
    'aborted' in value &&
    'addEventListener' in value;
  if (value !== undefined && !isSignal)
    throw invalid(`signal is ${kindOf(value)}; it must be an AbortSignal`);
}

/** @throws TypeError with code INVALID_INPUT for wrong options of `changes`. */
export function checkChanges(options: {
  topics?: unknown;
  follow?: unknown;
  signal?: unknown;
  wait?: unknown;
}): void {
  onlyKeys('options', options, ['topics', 'follow', 'lastEventId', 'signal', 'wait']);
  const { topics, follow, signal, wait } = options;
  if (topics !== undefined && !Array.isArray(topics))
    throw invalid(`topics is ${quote(topics)}; it must be a list such as ['tasks']`);
  if (follow !== undefined && !Array.isArray(follow))
    throw invalid(`follow is ${quote(follow)}; it must be a list of ids of tasks`);
  if (wait !== undefined && typeof wait !== 'function')
    throw invalid(`wait is ${kindOf(wait)}; it must be a function`);
  checkSignal(signal);
}

/**
 * @throws TypeError with code INVALID_INPUT if a value other than `reason` is `undefined`: the
 * request would not contain it, and the command would apply to more tasks than intended.
 */
export function refuseUndefined(name: string, value: object | undefined): void {
  if (value === undefined) return;
  for (const [key, each] of membersOf(name, value)) {
    if (each === undefined && key !== 'reason')
      throw invalid(`${name}.${key} is undefined; leave the key out, or give it a value`);
    if (key === 'filter' && typeof each === 'object' && each !== null)
      refuseUndefined(`${name}.filter`, each);
  }
}

/** @throws TypeError with code INVALID_INPUT for a wrong argument of `createClient`. */
export function checkClient(
  base: unknown,
  { token, fetch }: { token?: unknown; fetch?: unknown },
): void {
  // A slash at the end would give addresses with '//', which are other paths.
  if (typeof base !== 'string' || !/^(https?:\/\/[^\s?#]*[^\s?#/]|(\/[^\s?#/]+)*)$/i.test(base))
    throw invalid(
      `base is ${base instanceof URL ? 'a URL object; pass its href' : quote(base)}; it must be ` +
        "an address such as 'https://example.com/tasks', or in a page of that host '/tasks', " +
        'without a slash at the end',
    );
  if (!base.startsWith('http') && fetch === undefined && typeof location === 'undefined')
    throw invalid(
      `base is ${quote(base)}; outside a browser it must be a complete address such as ` +
        "'https://example.com/tasks'",
    );
  if (token !== undefined && typeof token !== 'string' && typeof token !== 'function')
    throw invalid(`token is ${kindOf(token)}; it must be a string, or a function that returns one`);
  if (fetch !== undefined && typeof fetch !== 'function')
    throw invalid(`fetch is ${kindOf(fetch)}; it must be a function`);
}
