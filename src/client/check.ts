/*
 * Checks of the client's arguments. The server checks what it is sent; here is checked what it could not see any more: a value
 * that is left out of an address or a body because it is `undefined`, and an id that makes the address of something else.
 */

function invalid(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'INVALID_INPUT' as const });
}

/** Returns a part of an address in its encoded form. @throws TypeError with code INVALID_INPUT if it is no part of its own. */
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
 * @throws TypeError with code INVALID_INPUT if a value that decides what is done is `undefined`: it would be left out, and more
 * would be done than was meant. Only a `reason` may be.
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
