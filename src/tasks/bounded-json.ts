/** Maximum number of members that are shown of each object or list, and of nesting levels. */
const maxMembers = 50;
const maxDepth = 6;
const maxString = 1000;

interface Room {
  characters: number;
  ancestors: object[];
}

/**
 * Returns JSON text of any value for people to read, of about `limit` characters at most. Values
 * that JSON cannot represent are named instead (`"[function send]"`, `"[circular]"`), and omitted
 * parts are marked with `…`. Never throws.
 */
export function boundedJson(value: unknown, limit: number): string {
  try {
    const shown = plain(value, { characters: limit, ancestors: [] });
    return typeof shown === 'string' && typeof value === 'object'
      ? shown
      : (JSON.stringify(shown) ?? String(shown));
  } catch {
    return 'a value that cannot be read';
  }
}

function plain(value: unknown, room: Room): unknown {
  switch (typeof value) {
    case 'string':
      return plainString(value, room);
    case 'bigint':
    case 'symbol':
      return plainString(String(value), room);
    case 'function':
      return plainString(`[function ${value.name || '(anonymous)'}]`, room);
    case 'object':
      return value === null ? null : plainObject(value, room);
    default:
      room.characters -= 8;
      return value;
  }
}

function plainString(value: string, room: Room): string {
  const limit = Math.max(0, Math.min(maxString, room.characters));
  room.characters -= Math.min(value.length, limit) + 2;
  return value.length > limit ? `${value.slice(0, limit)}…` : value;
}

function plainObject(value: object, room: Room): unknown {
  if (room.ancestors.includes(value)) return '[circular]';
  if (room.ancestors.length >= maxDepth || room.characters <= 0) return '…';
  room.ancestors.push(value);
  try {
    return contentsOf(value, room);
  } catch {
    return '[unreadable]';
  } finally {
    room.ancestors.pop();
  }
}

function contentsOf(value: object, room: Room): unknown {
  if (value instanceof Map || value instanceof Set)
    return `[${value.constructor.name} of ${value.size}]`;
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof Error)
    return {
      name: plainString(String(value.name), room),
      message: plainString(String(value.message), room),
    };
  if (Array.isArray(value)) return plainList(value.slice(0, maxMembers), value.length, room);
  if ('toJSON' in value && typeof value.toJSON === 'function') return plain(value.toJSON(), room);
  return plainRecord(value as Record<string, unknown>, room);
}

function plainList(items: readonly unknown[], length: number, room: Room): unknown[] {
  const shown: unknown[] = [];
  for (const item of items) {
    if (room.characters <= 0) break;
    shown.push(plain(item, room));
  }
  if (shown.length < length) shown.push(`… ${length - shown.length} more`);
  return shown;
}

function plainRecord(record: Record<string, unknown>, room: Room): Record<string, unknown> {
  const keys = Object.keys(record);
  const shown: [string, unknown][] = [];
  for (const key of keys.slice(0, maxMembers)) {
    if (room.characters <= 0) break;
    const name = plainString(key, room);
    shown.push([name, member(record, key, room)]);
  }
  if (shown.length < keys.length) shown.push(['…', `${keys.length - shown.length} more`]);
  return Object.fromEntries(shown);
}

function member(record: Record<string, unknown>, key: string, room: Room): unknown {
  try {
    return plain(record[key], room);
  } catch {
    return '[unreadable]';
  }
}
