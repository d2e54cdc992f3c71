import { TaskflowError } from '../../../errors.js';
import { idOf } from '../schema/rows.js';

/**
 * A cursor of a list: the group (if the list is sorted by name or state), the sorted value and the
 * id of a task.
 */
export interface Position {
  group: string;
  value: number | null;
  /** Upper-case hexadecimal digits, as SQLite writes them. */
  id: string;
}

/**
 * Returns the text of a cursor. In a list that is sorted by creation time, the id is enough. For
 * any other sort, the text also contains the group and the value.
 */
export function writePosition(
  sort: string,
  { value, id }: Omit<Position, 'group'>,
  group: string,
): string {
  return sort === 'createdAt'
    ? idOf(id)
    : `${encodeURIComponent(group)}:${value ?? ''}:${idOf(id)}`;
}

/**
 * Reads the text of a cursor.
 *
 * @throws TaskflowError INVALID_CURSOR if the text is not a cursor of a list with this sort.
 */
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

/** Creates the error for a cursor of another list, or a text that is no cursor. */
export function invalidPosition(): TaskflowError {
  return new TaskflowError(
    'INVALID_CURSOR',
    'this cursor does not belong to a list with this sort',
  );
}
