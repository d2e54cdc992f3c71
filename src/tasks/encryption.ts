import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { TaskflowError } from '../errors.js';
import type { TaskDetail } from './types.js';

const encrypted = /^"sealed:1:([0-9a-f]{8}):([\w-]+)"$/;

/**
 * Encrypts the stored arguments and results of tasks. Without keys, they are stored unencrypted.
 */
export interface Cipher {
  encrypt(text: string, task: string): string;
  /**
   * Decrypts a text with the key that encrypted it. Returns an unencrypted text unchanged.
   *
   * @throws TaskflowError INTERNAL if the key is missing or the text was changed.
   */
  decrypt(text: string, task: string): string;
}

interface Key {
  id: string;
  secret: Buffer;
}

/**
 * Creates a cipher: AES-256-GCM (NIST SP 800-38D) with a key derived from each given key, and a
 * random nonce of 96 bits. The name of the task is authenticated data, so a text is only valid for
 * tasks of the same name. The first key encrypts. All keys decrypt.
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
      const bytes = Buffer.concat([nonce, cipher.getAuthTag(), body]);
      return `"sealed:1:${first.id}:${bytes.toString('base64url')}"`;
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
        throw new TaskflowError('INTERNAL', 'the encrypted data of this task has been changed', {
          cause,
        });
      }
    },
  };
}

/**
 * Returns a task with its arguments and result decrypted, or with the reason why they cannot be
 * decrypted.
 */
export function decryptTask(cipher: Cipher, task: TaskDetail): TaskDetail {
  const decrypt = (value: unknown): unknown =>
    typeof value === 'string'
      ? JSON.parse(cipher.decrypt(JSON.stringify(value), task.name))
      : value;
  try {
    const args = decrypt(task.args);
    return { ...task, args: Array.isArray(args) ? args : [args], result: decrypt(task.result) };
  } catch (error) {
    return { ...task, args: [], result: null, resultOmitted: (error as Error).message };
  }
}

function deriveKey(key: string): Key {
  const secret = Buffer.from(hkdfSync('sha256', key, '', 'koa-taskflow task arguments', 32));
  return { id: createHash('sha256').update(secret).digest('hex').slice(0, 8), secret };
}
