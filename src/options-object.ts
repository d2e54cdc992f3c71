import { didYouMean } from './did-you-mean.js';
import { typeError } from './options.js';
import { kindOf, quote } from './show-value.js';

/**
 * Copies an object of options and refuses names that are not in `known`, so that a typo fails at
 * start. The object may inherit options from a class or from an object of defaults. Each option is
 * read once.
 *
 * `where` names what has the options, such as `createAuth`. If `isOption` is `true`, the object is
 * an option itself, such as `limits`.
 *
 * @throws TypeError with code INVALID_INPUT.
 */
export function optionsObject<T extends object>(
  where: string,
  value: T | undefined,
  known: readonly (keyof T)[],
  isOption = false,
): T {
  if (value === undefined) return Object.create(null);
  const names = known.map(String);
  const members = membersOf(isOption ? where : `the options object of ${where}`, value);
  if (!members) {
    // The message shows the kind only, because a string in this place may be a password.
    const kind = kindOf(value);
    const found = isOption
      ? `${where} is ${kind}; it`
      : `the options of ${where} are ${kind}; they`;
    throw typeError(`${found} must be an object with any of: ${names.join(', ')}`);
  }
  const options = Object.create(null);
  for (const [key, isEnumerable] of members) {
    const name = String(key);
    if (names.includes(name))
      options[name] = readFrom(`the option ${name} of ${where}`, () => value[name as keyof T]);
    else if (isEnumerable)
      throw typeError(
        `${where} has no option ${quote(name)}.${didYouMean(name, names)} Its options: ` +
          `${names.join(', ')}`,
      );
  }
  return options;
}

/**
 * Returns the keys that an object has or inherits, and whether each is enumerable. Keys of
 * `Object.prototype` do not count, so that a polluted one sets no option. Returns `undefined` for
 * an object of a built-in kind: a promise or a Map has no keys, so everything that the user meant
 * to set would be left out.
 */
export function membersOf(what: string, value: unknown): Map<PropertyKey, boolean> | undefined {
  return readFrom(what, () => {
    if (typeof value !== 'object' || value === null || !isPlain(value)) return undefined;
    const members = new Map<PropertyKey, boolean>();
    for (let holder: object = value; ; ) {
      for (const key of Reflect.ownKeys(holder))
        if (!members.has(key))
          members.set(key, Object.prototype.propertyIsEnumerable.call(holder, key));
      const next: object | null = Object.getPrototypeOf(holder);
      if (next === null || Object.getPrototypeOf(next) === null) return members;
      holder = next;
    }
  });
}

/** Whether it is an object of no built-in kind. An imported module counts as plain. */
function isPlain(value: object): boolean {
  return ['Object', 'Module'].includes(Object.prototype.toString.call(value).slice(8, -1));
}

/**
 * Reads from an object of the user, which may be a proxy or have getters.
 *
 * @throws TypeError with code INVALID_INPUT if the object throws.
 */
export function readFrom<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw typeError(`${what} throws an error when it is read`, { cause });
  }
}
