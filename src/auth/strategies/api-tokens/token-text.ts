import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

/*
 * A token is a prefix, 43 base62 characters of 32 random bytes, and 6 base62 characters of a
 * checksum. It has no `-`, so that a double click selects all of it. The prefix and the checksum
 * let a scanner find leaked tokens, and let the server refuse other texts without a look-up.
 */

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const [randomLength, checksumLength] = [43, 6];

function base62(value: bigint, length: number): string {
  let [rest, text] = [value, ''];
  for (let n = 0; n < length; n++) {
    text = digits.charAt(Number(rest % 62n)) + text;
    rest /= 62n;
  }
  return text;
}

const checksumOf = (text: string): string => base62(BigInt(crc32(text)), checksumLength);

/** Returns a new token. */
export function newToken(prefix: string): string {
  const text = prefix + base62(BigInt(`0x${randomBytes(32).toString('hex')}`), randomLength);
  return text + checksumOf(text);
}

/** Whether a text has the form of a token, and its checksum is right. */
export function isToken(prefix: string, text: string): boolean {
  if (text.length !== prefix.length + randomLength + checksumLength) return false;
  if (!text.startsWith(prefix) || !/^[0-9A-Za-z]+$/.test(text.slice(prefix.length))) return false;
  return checksumOf(text.slice(0, -checksumLength)) === text.slice(-checksumLength);
}

/** Returns the SHA-256 of a token, in hexadecimal. */
export function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** Returns the id of a token, which identifies it but does not reveal it. */
export function idOf(hash: string): string {
  return hash.slice(0, 32);
}

/** Whether a value has the form of an id. */
export function isId(id: unknown): id is string {
  return typeof id === 'string' && /^[0-9a-f]{32}$/.test(id);
}
