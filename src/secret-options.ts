import { rangeError, typeError } from './options.js';
import { kindOf } from './show-value.js';

/** Returns the error for an option whose value must never be printed. */
export function wrongSecret(
  option: string,
  accepted: string,
  Kind: typeof TypeError | typeof RangeError,
): Error {
  return Kind === TypeError
    ? typeError(`${option} must be ${accepted}`)
    : rangeError(`${option} must be ${accepted}`);
}

/** Returns the error for a secret of the wrong type. It names the kind alone. */
export function wrongSecretType(option: string, value: unknown, accepted: string): TypeError {
  return typeError(`${option} is ${kindOfSecret(value)}; it must be ${accepted}`);
}

/** Returns what a value is, without its text. A number may be a password, too. */
export function kindOfSecret(value: unknown): string {
  return typeof value === 'number' ? 'a number' : kindOf(value);
}

/**
 * Reads an option of one secret key, or a list of them, newest first. The error never holds a key.
 */
export function secretKeysOption(
  option: string,
  value: string | readonly string[] | undefined,
): readonly string[] | undefined {
  if (value === undefined) return undefined;
  const keys: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (keys.length === 0)
    throw wrongSecret(option, 'a key, or a list of keys with the newest first', RangeError);
  for (const [index, key] of keys.entries()) {
    if (typeof key !== 'string')
      throw wrongSecretType(
        Array.isArray(value) ? `${option}[${index}]` : option,
        key,
        'a string, or a list of strings',
      );
    if (key.length < 32)
      throw wrongSecret(
        option,
        'at least 32 characters long (RFC 7518 section 3.2), such as the output of: openssl ' +
          'rand -base64 32',
        RangeError,
      );
    if (new Set(key).size < 8)
      throw wrongSecret(
        option,
        'random, with at least 8 different characters, such as the output of: openssl rand ' +
          '-base64 32',
        RangeError,
      );
  }
  if (new Set(keys).size !== keys.length)
    throw wrongSecret(option, 'a list without the same key twice', RangeError);
  return keys as readonly string[];
}
