import { createHash } from 'node:crypto';
import type { TaskError } from './types.js';

/**
 * The first frame of the app's own code: not of a dependency, not of Node. Without line numbers,
 * which every edit moves.
 */
function ownFrame(stack: string): string {
  const frame = stack
    .split('\n')
    .find((line) => /^\s+at /.test(line) && !/node_modules|node:internal|\(node:/.test(line));
  return frame?.trim().replace(/:\d+:\d+\)?$/, '') ?? '';
}

/** Text without what differs between two failures of one kind: numbers, ids, quoted values. */
function withoutValues(message: string): string {
  return message
    .slice(0, 1000)
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/gi, '#')
    .replace(/\b[0-9a-f]{12,}\b/gi, '#')
    .replace(/\d+/g, '#');
}

/** Returns a code without numbers and ids that differ in each failure. */
function withoutIds(code: string): string {
  return code.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{12,}\b|\d{7,}/gi, '#');
}

/**
 * Returns the origin of a failure: the code of the innermost cause, or its class and message if it
 * has no code. A code is enough, because its message names hosts and files. Errors in between say
 * less, and each retry may add another one.
 */
function originOf({ name, message, code, cause, errors }: TaskError): string {
  if (cause) return originOf(cause);
  if (code !== undefined) return withoutIds(code);
  if (errors) return originsOf(errors);
  return `${name}: ${withoutValues(message)}`;
}

/** The members of an AggregateError, each kind once, in whatever order they failed. */
function originsOf(errors: readonly TaskError[]): string {
  return [...new Set(errors.map(originOf))].sort().join('\n');
}

/**
 * Returns a text that is the same for failures of one kind. It is made of the function, the error
 * class, the message without numbers and ids, the first frame of the app's own code, and if there
 * are any, the code and the origin of the failure.
 */
export function fingerprint(task: string, error: TaskError): string {
  const { name, message, stack, code, cause, errors } = error;
  const parts = [task, name, withoutValues(message), ownFrame(stack ?? '')];
  if (code !== undefined) parts.push(`code ${withoutIds(code)}`);
  if (cause) parts.push(`cause ${originOf(cause)}`);
  else if (errors) parts.push(`errors ${originsOf(errors)}`);
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16);
}
