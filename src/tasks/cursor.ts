import { createHash } from 'node:crypto';
import { TaskflowError } from '../errors.js';

/** Reads and writes the cursors of one list. */
export interface Cursors {
  /**
   * Returns the engine's position from a cursor. The engine checks the position, because only the
   * engine knows its form.
   *
   * @throws TaskflowError INVALID_CURSOR if the cursor was not returned by a list with the same
   * conditions.
   */
  read(cursor: string | undefined): string | undefined;
  /** Returns the cursor of a position, or null for null. */
  write(next: string | null): string | null;
}

/**
 * Returns the cursors of a list. They are valid for the same conditions and sort order, with any
 * limit.
 */
export function cursorsOf(conditions: Readonly<Record<string, unknown>>): Cursors {
  const list = fingerprintOf(conditions);
  return {
    read(cursor) {
      if (cursor === undefined) return undefined;
      const text = /^[\w-]+$/.test(cursor) ? Buffer.from(cursor, 'base64url').toString() : '';
      const dot = text.indexOf('.');
      if (dot !== list.length)
        throw new TaskflowError('INVALID_CURSOR', 'cursor is not the nextCursor of a list.');
      if (text.slice(0, dot) !== list)
        throw new TaskflowError('INVALID_CURSOR', 'cursor belongs to a list with other filters.');
      return text.slice(dot + 1);
    },
    write: (next) => next && Buffer.from(`${list}.${next}`).toString('base64url'),
  };
}

function fingerprintOf(conditions: Readonly<Record<string, unknown>>): string {
  const sorted = Object.entries(conditions).map(([name, value]): [string, unknown] => [
    name,
    Array.isArray(value) ? [...value].sort() : value,
  ]);
  return createHash('sha256')
    .update(JSON.stringify(sorted.sort(([a], [b]) => (a < b ? -1 : 1))))
    .digest('base64url')
    .slice(0, 8);
}
