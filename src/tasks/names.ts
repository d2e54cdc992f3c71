import { grouped } from '../show-value.js';

/**
 * Maximum number of bytes of an id or a name in UTF-8. Names that are defined with this package are
 * shorter, but BullMQ does not limit ids or the names of queues and jobs. In a URL each byte takes
 * up to three characters, and Node.js accepts at most 16 KiB of request line and headers.
 */
export const maxNameBytes = 4096;

const most = grouped(maxNameBytes);
/** Describes valid ids and names, for error messages. */
export const nameAccepted = `a string of 1 to ${most} bytes without NUL characters`;

const encoder = new TextEncoder();

/** Whether a text takes no more bytes than an id or a name may have. */
export function fitsName(text: string): boolean {
  return encoder.encode(text).length <= maxNameBytes;
}

/**
 * Returns whether a text can be an id or a name. Text with half a surrogate pair cannot be encoded
 * in UTF-8.
 */
export function isName(text: string): boolean {
  return text.length > 0 && fitsName(text) && !/[\0\p{Cs}]/u.test(text);
}
