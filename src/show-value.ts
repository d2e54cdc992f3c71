/*
 * Formats values for error messages. The client uses this file too, so it must not import anything.
 */

/**
 * Returns what a value is in words that are safe to print. Never returns the text of a string,
 * which may be a secret.
 */
export function kindOf(value: unknown): string {
  try {
    return kindInWords(value);
  } catch {
    // A proxy may throw when the code inspects it.
    return 'an object';
  }
}

function kindInWords(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value))
    return value.length === 0 ? 'an empty array' : `an array of length ${value.length}`;
  if (typeof value === 'string') return value === '' ? 'an empty string' : 'a string';
  if (typeof value === 'function') return functionKind(value);
  if (typeof value === 'object') return objectKind(value);
  if (typeof value === 'bigint' || typeof value === 'symbol') return `a ${typeof value}`;
  return grouped(value);
}

function objectKind(value: object): string {
  if ('app' in value && 'req' in value && 'res' in value)
    return 'the context of a request, as if app.use() had been given the factory itself';
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  if (tag === 'Promise') return 'a promise that is not awaited';
  if (tag === 'Module') return 'a module, not one of its exports';
  if (value instanceof Date && Number.isNaN(value.getTime())) return 'an invalid Date';
  const name = tag === 'Object' ? classOf(value) : tag;
  return name === undefined ? 'an object' : `${/^[AEIO]/.test(name) ? 'an' : 'a'} ${name}`;
}

/** Returns the class name of an object, or `undefined` for a plain object. */
function classOf(value: object): string | undefined {
  const { constructor: made } = value as { constructor?: unknown };
  return typeof made === 'function' && made.name !== 'Object' && made.name !== ''
    ? made.name
    : undefined;
}

/**
 * Returns the kind of a function, as an error message shows it: a plain function, a class, a
 * generator or an async function.
 */
export function functionKind(value: object & { name?: string }): string {
  const kinds: Readonly<Record<string, string>> = {
    AsyncFunction: 'an async function',
    GeneratorFunction: 'a generator function',
    AsyncGeneratorFunction: 'an async generator function',
  };
  if (isClass(value)) return value.name ? `the class ${value.name}` : 'a class';
  return kinds[Object.prototype.toString.call(value).slice(8, -1)] ?? 'a function';
}

/** Whether a function is a class, or a built-in error class such as TypeError. */
function isClass(value: object): boolean {
  if (/^class\b/.test(Function.prototype.toString.call(value))) return true;
  const { prototype } = value as { prototype?: unknown };
  return value === Error || prototype instanceof Error;
}

/**
 * Returns a value as an error message shows it: a string in quotes with at most 80 characters, any
 * other value by its kind.
 */
export function quote(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(safeText(value)) : kindOf(value);
}

/**
 * Returns the first 80 characters of a text. In a text that looks like a URL, `***` replaces the
 * user and password, and another `***` replaces the query.
 */
export function safeText(value: string): string {
  const end = value.lastIndexOf('@') + 1;
  const text = value.slice(0, end).replace(/:(\/*).*@/s, ':$1***@') + value.slice(end);
  // The dot matches a whole code point, so no surrogate pair is cut.
  const shown = text.replace(/^(.{79}).{2,}$/su, '$1…');
  return shown.replace(/(:\/\/.*?\?).+/s, '$1***');
}

/** Returns a value as text, a number with its digits in groups, such as 100,000. */
export function grouped(value: unknown): string {
  return String(value).replace(/\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ','));
}
