/**
 * The most bytes of an id or a name in UTF-8. Names that are defined here are shorter, but BullMQ
 * bounds neither names of queues and jobs nor ids. In an address each byte takes up to three
 * characters, and Node.js reads 16 KiB of a request before its body.
 */
export const maxNameBytes = 4096;

const most = maxNameBytes.toLocaleString('en');
/** The texts that are accepted as an id or a name, for error messages. */
export const nameAccepted = `a string of 1 to ${most} bytes without NUL characters`;

const encoder = new TextEncoder();

/**
 * Whether a text can be an id or a name. Text with half a surrogate pair cannot be written in
 * UTF-8.
 */
export function isName(text: string): boolean {
  if (text.length === 0 || text.length > maxNameBytes || /[\0\p{Cs}]/u.test(text)) return false;
  return encoder.encode(text).length <= maxNameBytes;
}
