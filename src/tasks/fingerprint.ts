import { createHash } from 'node:crypto';
import type { TaskError } from './types.js';

/**
 * Returns the first stack frame of the app's own code, which is neither of a dependency nor of
 * Node. Line numbers are removed, because every edit changes them.
 */
function ownFrame(stack: string): string {
  const frame = stack
    .split('\n')
    .find((line) => /^\s+at /.test(line) && !/node_modules|node:internal|\(node:/.test(line));
  return frame?.trim().replace(/:\d+:\d+\)?$/, '') ?? '';
}

/** Returns a message without numbers and ids, which differ between failures of the same group. */
function withoutValues(message: string): string {
  return message
    .slice(0, 1000)
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/gi, '#')
    .replace(/\b[0-9a-f]{12,}\b/gi, '#')
    .replace(/\d+/g, '#');
}

/** Returns a code without numbers and ids, which differ between failures of the same group. */
function withoutIds(code: string): string {
  return code.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{12,}\b|\d{7,}/gi, '#');
}

/**
 * Returns the origin of a failure: the code of the innermost cause. If there is no code, returns
 * the class and the message. A code alone is enough, because messages name hosts and files. Errors
 * in between add little, and each retry may wrap the error once more.
 */
function originOf({ name, message, code, cause, errors }: TaskError): string {
  if (cause) return originOf(cause);
  if (code !== undefined) return withoutIds(code);
  if (errors) return originsOf(errors);
  return `${name}: ${withoutValues(message)}`;
}

/**
 * Returns the origins of the members of an AggregateError, each once, sorted because their order
 * varies.
 */
function originsOf(errors: readonly TaskError[]): string {
  return [...new Set(errors.map(originOf))].sort().join('\n');
}

/**
 * Returns the fingerprint of a failure, which all failures of one failure group share. It is a hash
 * of:
 * - the function and the error class,
 * - the message without numbers and ids,
 * - the first stack frame of the app's own code,
 * - the code and the origin of the failure, if there are any.
 */
export function fingerprint(task: string, error: TaskError): string {
  const { name, message, stack, code, cause, errors } = error;
  const parts = [task, name, withoutValues(message), ownFrame(stack ?? '')];
  if (code !== undefined) parts.push(`code ${withoutIds(code)}`);
  if (cause) parts.push(`cause ${originOf(cause)}`);
  else if (errors) parts.push(`errors ${originsOf(errors)}`);
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16);
}
