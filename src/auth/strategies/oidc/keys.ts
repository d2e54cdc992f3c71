import { createHash } from 'node:crypto';
import { sameUser } from '../../sessions/revocations.js';

/** Returns a key of fixed length for texts of any length and content. */
export function keyOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}

/** Returns the key of a user. Spellings that count as the same user have the same key. */
export function userKey(username: string): string {
  return keyOf(sameUser(username));
}
