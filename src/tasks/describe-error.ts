import { pathToFileURL } from 'node:url';
import { isNativeError } from 'node:util/types';
import { loggedError } from '../errors.js';
import { boundedJson } from './bounded-json.js';
import { fingerprint } from './fingerprint.js';
import type { StoredError } from './task-runner.js';
import type { ErrorDetails, TaskError } from './types.js';

/*
 * Converts any value that a handler throws to plain text that can be stored. A thrown value is not
 * trusted: a getter or a Proxy may throw, the value may refer to itself, and it may have any size.
 * Each property is therefore read once, in a `try`, and cut to a limit.
 */

/**
 * Maximum number of characters that are kept of the thrown error (`outer`), and of each cause and
 * member (`inner`).
 */
const outer = { message: 8 * 1024, stack: 16 * 1024 };
const inner = { message: 2 * 1024, stack: 4 * 1024 };
const maxDepth = 8;
const maxErrors = 20;
const maxCharacters = 32 * 1024;
const nameLimit = 200;
const codeLimit = 100;

/** How many causes and members, and how many of their characters, may still be kept. */
interface Budget {
  errors: number;
  characters: number;
}

/** Describes a value that a handler of the task threw. Never throws. */
export function describeError(task: string, thrown: unknown): StoredError {
  const error = describeThrown(thrown);
  // The class name is not part of the fingerprint: `name` identifies the error already, and a
  // minifier changes class names.
  return {
    ...error,
    fingerprint: fingerprint(task, {
      ...error,
      name: isErrorLike(thrown) ? ownName(thrown) : error.name,
    }),
  };
}

/** Returns the `err` field of a log line for any value that code of the app threw. Never throws. */
export function thrownForLog(thrown: unknown): object {
  return loggedError(describeThrown(thrown));
}

function describeThrown(thrown: unknown): TaskError {
  return describe(thrown, { errors: maxErrors, characters: maxCharacters }, []);
}

function describe(thrown: unknown, budget: Budget, ancestors: readonly unknown[]): TaskError {
  const limits = ancestors.length === 0 ? outer : inner;
  if (!isErrorLike(thrown))
    return spend(
      { ...valueFields(thrown, limits.message), stack: null, ...codeOf(thrown) },
      budget,
      ancestors,
    );
  const message = textOf(read(thrown, 'message') ?? '', outer.message);
  const error = {
    name: storableText(nameOf(thrown), nameLimit),
    message: storableText(message, limits.message),
    stack: stackOf(thrown, limits.stack),
    ...codeOf(thrown),
  };
  return {
    ...spend(error, budget, ancestors),
    ...relatedErrors(thrown, budget, [...ancestors, thrown]),
  };
}

function spend(error: TaskError, budget: Budget, ancestors: readonly unknown[]): TaskError {
  if (ancestors.length === 0) return error;
  budget.errors -= 1;
  budget.characters -= error.message.length + (error.stack?.length ?? 0);
  return error;
}

/**
 * Returns the cause of an error and the members of an AggregateError. The last item of `ancestors`
 * is the error itself.
 */
function relatedErrors(
  thrown: object,
  budget: Budget,
  ancestors: readonly unknown[],
): ErrorDetails {
  const related: ErrorDetails = {};
  const keep = (value: unknown): TaskError | undefined => {
    // The error refers to itself or to an error that is already described.
    if (ancestors.includes(value)) return undefined;
    if (ancestors.length <= maxDepth && budget.errors > 0 && budget.characters > 0)
      return describe(value, budget, ancestors);
    related.truncated = true;
    return undefined;
  };
  const cause = read(thrown, 'cause');
  if (cause !== undefined && cause !== null && typeof cause !== 'function') {
    const kept = keep(cause);
    if (kept) related.cause = kept;
  }
  const members = membersOf(thrown);
  if (members.length > maxErrors) related.truncated = true;
  const errors = members.slice(0, maxErrors).flatMap((member) => keep(member) ?? []);
  if (errors.length > 0) related.errors = errors;
  return related;
}

/**
 * Returns the members of an error. Errors other than AggregateError may also have a list `errors`,
 * such as invalid fields. It only counts if it contains nothing but errors.
 */
function membersOf(thrown: object): readonly unknown[] {
  const errors = read(thrown, 'errors');
  try {
    if (!Array.isArray(errors)) return [];
    const first = errors.slice(0, maxErrors + 1) as unknown[];
    return isAggregate(thrown) || first.every(isError) ? first : [];
  } catch {
    return [];
  }
}

function isAggregate(thrown: object): boolean {
  return thrown instanceof AggregateError || read(thrown, 'name') === 'AggregateError';
}

/**
 * Describes a value that is not an error: a primitive as text, an object as JSON, a function by its
 * name.
 */
function valueFields(thrown: unknown, limit: number): { name: string; message: string } {
  const name = typeof thrown;
  if (typeof thrown === 'function')
    return { name, message: storableText(functionText(thrown), limit) };
  return { name, message: textOf(thrown, limit) };
}

function functionText(thrown: unknown): string {
  const called = read(thrown, 'name');
  const label = typeof called === 'string' && called !== '' ? called : '(anonymous)';
  return isClass(thrown) ? `class ${label}, thrown without new` : `function ${label}`;
}

function isClass(value: unknown): boolean {
  return text(value).startsWith('class') || isErrorLike(read(value, 'prototype'));
}

/**
 * Returns whether a value is an error or has a message. Errors of other realms and of some
 * frameworks are not instances of `Error`.
 */
function isErrorLike(thrown: unknown): thrown is object {
  if (isError(thrown)) return true;
  try {
    return typeof thrown === 'object' && thrown !== null && 'message' in thrown;
  } catch {
    return false;
  }
}

function isError(value: unknown): boolean {
  try {
    return isNativeError(value) || value instanceof Error;
  } catch {
    return false;
  }
}

function ownName(thrown: object): string {
  const name = read(thrown, 'name');
  return name === undefined ? 'Error' : text(name).slice(0, nameLimit);
}

/** Returns the `name` of an error, or the name of its class if the class does not set `name`. */
function nameOf(thrown: object): string {
  const name = ownName(thrown);
  if (name !== 'Error' && name !== '') return name;
  const made = read(thrown, 'constructor');
  const className = typeof made === 'function' ? read(made, 'name') : undefined;
  return typeof className === 'string' && className !== '' && className !== 'Object'
    ? className
    : name || 'Error';
}

/**
 * Returns the code of an error. A number counts, except for the numeric code that each DOMException
 * derives from its name.
 */
function codeOf(thrown: unknown): { code?: string } {
  if (typeof thrown !== 'object' || thrown === null) return {};
  const code = read(thrown, 'code');
  if (typeof code === 'string' && code !== '') return { code: storableText(code, codeLimit) };
  return typeof code === 'number' && !isDomException(thrown) ? { code: String(code) } : {};
}

function isDomException(thrown: object): boolean {
  return thrown instanceof DOMException || read(thrown, Symbol.toStringTag) === 'DOMException';
}

const root = process.cwd();
const rootUrl = pathToFileURL(root).href;

/**
 * Returns the stack with paths relative to the working directory, which makes it shorter and the
 * same on every machine.
 */
function stackOf(thrown: object, limit: number): string | null {
  const stack = read(thrown, 'stack');
  if (typeof stack !== 'string' || stack === '') return null;
  const message = read(thrown, 'message');
  const bounded = typeof message === 'string' ? withShortMessage(stack, message, limit / 4) : stack;
  const clean = bounded
    .slice(0, 4 * limit)
    .replaceAll(`${rootUrl}/`, '')
    .replaceAll(`${root}/`, '');
  return storableText(clean, limit) || null;
}

/**
 * Shortens the message at the start of a stack, because a long one would leave no room for the
 * frames.
 */
function withShortMessage(stack: string, message: string, limit: number): string {
  if (message.length <= limit) return stack;
  const at = stack.indexOf(message);
  return at === -1 ? stack : `${stack.slice(0, at + limit)}…${stack.slice(at + message.length)}`;
}

function read(thrown: unknown, key: string | symbol): unknown {
  try {
    return (thrown as Record<string | symbol, unknown>)[key];
  } catch {
    return undefined;
  }
}

function textOf(value: unknown, limit: number): string {
  const isObject = typeof value === 'object' && value !== null;
  return storableText(isObject ? boundedJson(value, limit) : text(value), limit);
}

/**
 * Returns a text of at most `limit` characters that every store accepts. SQLite ends text at a NUL.
 * Redis refuses JSON with half a surrogate pair, which can be left over by cutting.
 */
export function storableText(value: string, limit: number): string {
  const kept = value.length > limit ? `${value.slice(0, limit - 1)}…` : value;
  return Buffer.from(kept.replaceAll('\0', '\ufffd')).toString();
}

/** Returns the text of any value. Never throws. */
export function text(value: unknown): string {
  try {
    return String(value);
  } catch {
    return 'a value without text';
  }
}
