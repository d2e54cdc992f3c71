/*
 * Checks of the client's arguments that the server cannot make: a value that is `undefined` is left out of the address or the
 * body, and an id such as '..' makes the address of another resource.
 */

function invalid(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'INVALID_INPUT' as const });
}

/** Encodes one segment of an address. @throws TypeError with code INVALID_INPUT if the value cannot be one segment. */
export function segment(name: string, value: unknown): string {
  // A URL with '.' or '..' as a part is the URL of another path.
  if (typeof value !== 'string' || value === '' || value === '.' || value === '..' || value.length > 400)
    throw invalid(
      `${name} is ${typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : String(value)}; it must be a string of 1 to 400 characters`,
    );
  return encodeURIComponent(value);
}

/** Returns the members of an object. @throws TypeError with code INVALID_INPUT for anything else. */
export function membersOf(name: string, value: unknown): [key: string, value: unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${name} must be an object`);
  return Object.entries(value);
}

/** @throws TypeError with code INVALID_INPUT if an object has another key than the known ones. */
export function onlyKeys(name: string, value: object | undefined, known: readonly string[]): void {
  if (value === undefined) return;
  for (const [key] of membersOf(name, value))
    if (!known.includes(key)) throw invalid(`${name} has an unknown key ${JSON.stringify(key.slice(0, 64))}; allowed: ${known.join(', ')}`);
}

/**
 * @throws TypeError with code INVALID_INPUT if a value other than `reason` is `undefined`: it would be left out, and the command
 * would apply to more tasks than were meant.
 */
export function refuseUndefined(name: string, value: object | undefined): void {
  if (value === undefined) return;
  for (const [key, each] of membersOf(name, value)) {
    if (each === undefined && key !== 'reason') throw invalid(`${name}.${key} is undefined; leave the key out, or give it a value`);
    if (key === 'filter' && typeof each === 'object' && each !== null) refuseUndefined(`${name}.filter`, each);
  }
}

/** @throws TypeError with code INVALID_INPUT for a wrong argument of `createClient`. */
export function checkClient(base: unknown, { token, fetch }: { token?: unknown; fetch?: unknown }): void {
  if (typeof base !== 'string') throw invalid(`base is ${String(base)}; it must be an address such as 'https://example.com/tasks'`);
  if (token !== undefined && typeof token !== 'string' && typeof token !== 'function')
    throw invalid('token must be a string, or a function that returns one');
  if (fetch !== undefined && typeof fetch !== 'function') throw invalid('fetch must be a function');
}
