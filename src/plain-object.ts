/*
 * Objects of callers. The client uses this file too, so it must not import anything.
 */

/**
 * Returns whether a value is a plain object of any realm: its prototype is null or has no prototype
 * itself.
 */
export function isPlainObject(value: unknown): value is object {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.getPrototypeOf(Object.getPrototypeOf(value) ?? Object.prototype) === null
  );
}

/**
 * Copies an object into one without a prototype, so that a polluted `Object.prototype` sets no
 * member that the object lacks.
 */
export function ownMembers<T extends object>(value: T): T {
  return Object.assign(Object.create(null), value);
}
