import type { IncomingMessage } from 'node:http';
import { outOfRange, wrongType } from '../../../options.js';

/** What a request has under the name of a header. */
export type HeaderValue =
  | { found: 'one'; value: string }
  /** The request has no such header. */
  | { found: 'none' }
  /**
   * The request has the header twice, or also a header whose name differs only by `_` for `-`,
   * which some servers read as the same. One of them may come from the client.
   */
  | { found: 'several' };

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads an option that names a header. Returns the name in lower case. */
export function headerOption(option: string, value: unknown): string {
  const accepted = "the name of a header, such as 'Remote-User': letters, digits and '-'";
  if (typeof value !== 'string') throw wrongType(option, value, accepted);
  if (!/^[A-Za-z0-9-]{1,64}$/.test(value)) throw outOfRange(option, value, accepted);
  return value.toLowerCase();
}

/** Reads a header from the lines that the client or the proxy sent. `name` is in lower case. */
export function readHeader({ rawHeaders }: IncomingMessage, name: string): HeaderValue {
  let value: string | undefined;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const raw = rawHeaders[index] ?? '';
    if (raw.length !== name.length) continue;
    const sent = raw.toLowerCase();
    if (sent !== name && sent.replaceAll('_', '-') !== name) continue;
    if (value !== undefined || sent !== name) return { found: 'several' };
    value = rawHeaders[index + 1] ?? '';
  }
  return value === undefined ? { found: 'none' } : { found: 'one', value };
}

/**
 * Returns a text without spaces and tabs at its ends. Other kinds of spaces are part of a name:
 * without them, it could be the name of another user.
 */
export function trimmed(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, '');
}

/**
 * Returns the text of a header value, whose bytes Node reads as Latin-1. Returns `undefined` if
 * they are not valid UTF-8.
 */
export function textOf(value: string): string | undefined {
  try {
    return trimmed(utf8.decode(Buffer.from(value, 'latin1')));
  } catch {
    return undefined;
  }
}
