import { TaskflowError } from '../../../errors.js';
import { idOf } from '../schema/rows.js';

/** A place in a list: the group (of a sort by name or state), the value sorted by, the id. */
export interface Position {
  group: string;
  value: number | null;
  /** Hexadecimal digits, in capitals as SQLite gives them. */
  id: string;
}

/** Newest and oldest first need no more than an id; any other sort says its group and value too. */
export function writePosition(sort: string, { group, value, id }: Position): string {
  return sort === 'createdAt'
    ? idOf(id)
    : `${encodeURIComponent(group)}:${value ?? ''}:${idOf(id)}`;
}

/** Reads a position that a list gave. @throws TaskflowError INVALID_CURSOR for any other. */
export function readPosition(text: string, sort: string): Position {
  const parts =
    /^(?:([^:]{1,4000}):(-?\d{1,16})?:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(text);
  const [, group, value, id] = parts ?? [];
  if (id === undefined || (sort === 'createdAt') !== (group === undefined)) throw invalidPosition();
  return {
    group: decode(group ?? ''),
    value: value === undefined ? null : Number(value),
    id: id.replaceAll('-', '').toUpperCase(),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidPosition();
  }
}

/** The error of a position that is of another list, or of none. */
export function invalidPosition(): TaskflowError {
  return new TaskflowError(
    'INVALID_CURSOR',
    'this position is not one that a list with this sort gave',
  );
}
