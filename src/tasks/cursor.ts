import { createHash } from 'node:crypto';
import { TaskflowError } from '../errors.js';

/** Reads and writes the cursors of one list. */
export interface Cursors {
  /**
   * Returns the engine's position that a cursor holds; the engine checks it, since it alone knows
   * the form.
   *
   * @throws TaskflowError INVALID_CURSOR if no list returned the cursor, or a list with other
   * conditions did.
   */
  read(cursor: string | undefined): string | undefined;
  /** Returns the cursor of a position. */
  write(next: string | null): string | null;
}

/** Makes the cursors of a list: they hold for the same conditions and sort, with any limit. */
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
