import { isProxy } from 'node:util/types';
import { rangeError, typeError } from '../options.js';
import { grouped } from '../show-value.js';

/**
 * Maximum nesting of arguments and results: deeper than any sensible value, and far from a stack
 * overflow.
 */
const maxDepth = 500;

/**
 * Returns a description of the first place in a value that JSON would change, or `undefined` if
 * JSON preserves the value.
 */
function flaw(value: unknown, path: string, ancestors: Set<object>): string | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined;
    case 'number':
      return Number.isFinite(value) ? undefined : `${path} is ${value}`;
    case 'object':
      return value === null ? undefined : objectFlaw(value, path, ancestors);
    case 'undefined':
      return `${path} is undefined`;
    default:
      return `${path} is a ${typeof value}`;
  }
}

function objectFlaw(value: object, path: string, ancestors: Set<object>): string | undefined {
  if (ancestors.has(value)) return `${path} is a circular reference`;
  if (ancestors.size >= maxDepth) return `${path} is nested more than ${maxDepth} deep`;
  const kind = foreignKind(value);
  if (kind) return `${path} is ${kind}`;
  ancestors.add(value);
  const found = Array.isArray(value)
    ? listFlaw(value, path, ancestors)
    : recordFlaw(value as Record<string, unknown>, path, ancestors);
  ancestors.delete(value);
  return found;
}

/** Returns what kind of object a value is, or `undefined` for a plain object or a list. */
function foreignKind(value: object): string | undefined {
  if (isProxy(value)) return 'a Proxy';
  if (isIterator(value)) return 'an iterator';
  const prototype: unknown = Object.getPrototypeOf(value);
  if (Array.isArray(value))
    return prototype === Array.prototype ? undefined : 'an instance of a subclass of Array';
  // The shape decides, not the identity, because objects of another realm (a vm, a test runner) are
  // plain, too.
  if (
    prototype === null ||
    (Object.getPrototypeOf(prototype) === null &&
      Object.hasOwn(prototype as object, 'hasOwnProperty'))
  ) {
    return Object.getOwnPropertySymbols(value).length > 0
      ? 'an object with a symbol as a key'
      : undefined;
  }
  const name = value.constructor?.name || 'class instance';
  return /^[AEIOU]/.test(name) ? `an ${name}` : `a ${name}`;
}

function isIterator(value: object): boolean {
  return (
    'next' in value &&
    typeof value.next === 'function' &&
    (Symbol.iterator in value || Symbol.asyncIterator in value)
  );
}

/**
 * Returns whether the content of a value has not been read yet: an iterator, a stream, or the
 * response of a `fetch`.
 */
function isUnread(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return isIterator(value) || Symbol.asyncIterator in value || ('body' in value && 'json' in value);
}

function listFlaw(
  list: readonly unknown[],
  path: string,
  ancestors: Set<object>,
): string | undefined {
  for (let index = 0; index < list.length; index++) {
    const found = flaw(list[index], `${path}[${index}]`, ancestors);
    if (found) return found;
  }
  return undefined;
}

function recordFlaw(
  record: Record<string, unknown>,
  path: string,
  ancestors: Set<object>,
): string | undefined {
  for (const key of Object.keys(record)) {
    const value = record[key];
    // JSON omits a member that is `undefined`. Reading that member still returns `undefined`.
    if (value === undefined) continue;
    const found = flaw(
      value,
      /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`,
      ancestors,
    );
    if (found) return found;
  }
  return undefined;
}

/**
 * Returns the arguments as they are stored. Trailing `undefined` arguments are dropped.
 *
 * @throws TypeError with the path of the first value that JSON would change, RangeError if the text
 * exceeds `limit` bytes.
 */
export function encodeArguments(task: string, args: readonly unknown[], limit: number): string {
  let length = args.length;
  while (length > 0 && args[length - 1] === undefined) length -= 1;
  const kept = args.slice(0, length);
  const found = listFlaw(kept, 'args', new Set());
  if (found)
    throw typeError(
      `task '${task}': ${found}; JSON cannot represent that. Pass plain data: strings, numbers, ` +
        'booleans, null, lists and plain objects',
    );
  const text = JSON.stringify(kept);
  const bytes = Buffer.byteLength(text);
  if (bytes > limit)
    throw rangeError(
      `task '${task}': args are ${grouped(bytes)} bytes as JSON; the limit is ${grouped(limit)}`,
    );
  return text;
}

/** Returns a result as it is stored, or the reason why it is not stored. */
export function encodeResult(
  value: unknown,
  limit: number,
): { result?: string; resultOmitted?: string } {
  if (value === undefined) return {};
  try {
    const found = flaw(value, 'result', new Set());
    if (found)
      return {
        resultOmitted:
          `${found}; JSON cannot represent ` +
          `that${isUnread(value) ? '. Read it in the handler and return its content' : ''}`,
      };
    const result = JSON.stringify(value);
    const bytes = Buffer.byteLength(result);
    return bytes > limit
      ? {
          resultOmitted:
            `result is ${grouped(bytes)} bytes as JSON; ` + `the limit is ${grouped(limit)}`,
        }
      : { result };
  } catch {
    return { resultOmitted: 'reading the result threw an error' };
  }
}

/**
 * Returns the arguments of a task from their stored text. A job of another program may hold any
 * JSON value. If that value is not a list, it counts as the only argument.
 *
 * @throws TypeError if the text is not JSON.
 */
export function decodeArguments(task: string, text: string): unknown[] {
  const value = parsed(task, text);
  return Array.isArray(value) ? value : [value];
}

function parsed(task: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw typeError(
      `task '${task}': what is stored as its arguments is not JSON; another program may have ` +
        'added it',
      { cause },
    );
  }
}
