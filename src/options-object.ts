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
  const members = membersOf(isOption ? where : `the options of ${where}`, value);
  if (!members) {
    // The message shows the kind only, because a string in this place may be a password.
    const kind = kindOf(value);
    const found = isOption
      ? `${where} is ${kind}; it`
      : `the options of ${where} are ${kind}; they`;
    throw typeError(`${found} must be an object with any of: ${names.join(', ')}`);
  }
  const options = Object.create(null);
  for (const [name, isData] of members) {
    if (names.includes(name))
      options[name] = readFrom(`the option ${name} of ${where}`, () => value[name as keyof T]);
    else if (isData)
      throw typeError(
        `${where} has no option ${quote(name)}.${didYouMean(name, names)} Its options: ` +
          `${names.join(', ')}`,
      );
  }
  return options;
}

/**
 * Returns the names that an object has or inherits, and whether each is data: enumerable, and no
 * inherited function, because a method of a class is no option that the user meant to set. Names of
 * `Object.prototype` do not count, so that a polluted one sets no option. Neither do symbols.
 * Returns `undefined` for an object of a built-in kind: a promise or a Map has no names, so
 * everything that the user meant to set would be left out.
 */
export function membersOf(what: string, value: unknown): Map<string, boolean> | undefined {
  return readFrom(what, () => {
    if (typeof value !== 'object' || value === null || !isPlain(value)) return undefined;
    const members = new Map<string, boolean>();
    let holder: object | null = value;
    while (holder !== null && (holder === value || !isObjectPrototype(holder))) {
      for (const name of Object.getOwnPropertyNames(holder)) {
        const found = Object.getOwnPropertyDescriptor(holder, name);
        const isMethod = holder !== value && typeof found?.value === 'function';
        if (!members.has(name)) members.set(name, found?.enumerable === true && !isMethod);
      }
      holder = Object.getPrototypeOf(holder);
    }
    return members;
  });
}

/** Whether it is the `Object.prototype` of this realm or of another one. */
function isObjectPrototype(holder: object): boolean {
  return (
    Object.getPrototypeOf(holder) === null &&
    Object.hasOwn(holder, 'hasOwnProperty') &&
    holder.constructor?.name === 'Object'
  );
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
    throw typeError(`reading ${what} threw an error`, { cause });
  }
}
