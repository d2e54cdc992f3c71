/**
 * Maximum number of bytes of an id or a name in UTF-8. Names that are defined with this package are
 * shorter, but BullMQ does not limit ids or the names of queues and jobs. In a URL each byte takes
 * up to three characters, and Node.js accepts at most 16 KiB of request line and headers.
 */
export const maxNameBytes = 4096;

const most = maxNameBytes.toLocaleString('en');
/** Describes valid ids and names, for error messages. */
export const nameAccepted = `a string of 1 to ${most} bytes without NUL characters`;

const encoder = new TextEncoder();

/**
 * Returns whether a text can be an id or a name. Text with half a surrogate pair cannot be encoded
 * in UTF-8.
 */
export function isName(text: string): boolean {
  if (text.length === 0 || text.length > maxNameBytes || /[\0\p{Cs}]/u.test(text)) return false;
  return encoder.encode(text).length <= maxNameBytes;
}
