import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { TaskflowError } from '../errors.js';

const encrypted = /^"sealed:1:([0-9a-f]{8}):([\w-]+)"$/;

/**
 * Encrypts what is stored of a task's arguments and result. Without keys it leaves everything as it
 * is.
 */
export interface Cipher {
  encrypt(text: string, task: string): string;
  /**
   * The text again, of whichever key encrypted it; what is not encrypted stays as it is.
   *
   * @throws TaskflowError INTERNAL where the key is missing, or the text has been changed.
   */
  decrypt(text: string, task: string): string;
}

interface Key {
  id: string;
  secret: Buffer;
}

/**
 * AES-256-GCM (NIST SP 800-38D) with a key derived from each given one, a random nonce of 96 bits,
 * and the name of the task as what is authenticated beside it, so that a text of one task does not
 * pass for one of another. The first key encrypts.
 */
export function createCipher(keys: readonly string[]): Cipher {
  const derived = keys.map(deriveKey);
  const [first] = derived;
  return {
    encrypt(text, task) {
      if (!first) return text;
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', first.secret, nonce).setAAD(Buffer.from(task));
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return `"sealed:1:${first.id}:${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')}"`;
    },
    decrypt(text, task) {
      const [, id, encoded] = encrypted.exec(text) ?? [];
      if (id === undefined || encoded === undefined) return text;
      const key = derived.find((each) => each.id === id);
      if (!key)
        throw new TaskflowError(
          'INTERNAL',
          `the key '${id}' that encrypted this is not among encryptionKeys`,
        );
      const bytes = Buffer.from(encoded, 'base64url');
      try {
        const decipher = createDecipheriv('aes-256-gcm', key.secret, bytes.subarray(0, 12)).setAAD(
          Buffer.from(task),
        );
        decipher.setAuthTag(bytes.subarray(12, 28));
        return decipher.update(bytes.subarray(28), undefined, 'utf8') + decipher.final('utf8');
      } catch (cause) {
        throw new TaskflowError('INTERNAL', 'what is encrypted of this task has been changed', {
          cause,
        });
      }
    },
  };
}

function deriveKey(key: string): Key {
  const secret = Buffer.from(hkdfSync('sha256', key, '', 'koa-taskflow task arguments', 32));
  return { id: createHash('sha256').update(secret).digest('hex').slice(0, 8), secret };
}
