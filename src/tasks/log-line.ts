import { grouped } from '../show-value.js';
import { text } from './describe-error.js';
import type { NewLogLine } from './task-runner.js';
import type { LogLevel } from './types.js';

/** Maximum number of characters of a message, and of the fields of a line as JSON text. */
const messageLimit = 8 * 1024;

/** Returns the line that `taskLog` adds to the log of a task. */
export function logLine(level: LogLevel, message: string, fields: object | undefined): NewLogLine {
  return {
    at: Date.now(),
    level,
    message: textOf(message).slice(0, messageLimit),
    fields: encodeFields(fields),
  };
}

/** Returns the line that replaces the last one if a task reaches the limit of its lines. */
export function limitLine(limit: number): NewLogLine {
  return logLine('warn', `only the first ${grouped(limit)} lines of a task are kept`, undefined);
}

function encodeFields(fields: object | undefined): NewLogLine['fields'] {
  if (fields === undefined || fields === null) return null;
  try {
    const encoded = JSON.stringify(fields, (_key, value: unknown) => {
      if (typeof value === 'bigint') return String(value);
      return value instanceof Error ? { name: value.name, message: value.message } : value;
    });
    if (encoded === undefined || encoded[0] !== '{')
      return JSON.stringify({
        value: encoded === undefined ? textOf(fields) : JSON.parse(encoded),
      });
    return encoded.length > messageLimit
      ? JSON.stringify({ omitted: `fields of ${encoded.length} characters` })
      : encoded;
  } catch {
    return JSON.stringify({ omitted: 'fields that JSON cannot represent' });
  }
}

/** Returns the text of any value. SQLite ends text at a NUL, so each NUL is replaced. */
export function textOf(value: unknown): string {
  return text(value).replaceAll('\0', '\ufffd');
}
