import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** Encrypts texts that are stored outside this process, such as in a cookie or in the store. */
export interface Cipher {
  /** Returns the text encrypted, in base64url. */
  encrypt(text: string): string;
  /** Returns the text, or `undefined` if it was changed, or encrypted for another use or key. */
  decrypt(encrypted: string): string | undefined;
}

const algorithm = 'aes-256-gcm';
const [nonceBytes, tagBytes] = [12, 16];

/**
 * Makes a cipher with AES-256-GCM. `keysOf` returns the present keys: the first one encrypts, and
 * all decrypt. A text that was encrypted for one `use` cannot be decrypted for another one.
 */
export function createCipher(keysOf: () => readonly Buffer[], use: string): Cipher {
  const bound = Buffer.from(use);
  const open = (key: Buffer, encrypted: Buffer): string | undefined => {
    const nonce = encrypted.subarray(0, nonceBytes);
    const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes })
      .setAAD(bound)
      .setAuthTag(encrypted.subarray(-tagBytes));
    try {
      const text = decipher.update(encrypted.subarray(nonceBytes, -tagBytes));
      return Buffer.concat([text, decipher.final()]).toString();
    } catch {
      return undefined;
    }
  };
  return {
    encrypt(text) {
      const [key] = keysOf();
      if (!key) throw new Error('a cipher needs a key');
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
      const encrypted = cipher.setAAD(bound).update(text, 'utf8');
      const parts = [nonce, encrypted, cipher.final(), cipher.getAuthTag()];
      return Buffer.concat(parts).toString('base64url');
    },
    decrypt(encrypted) {
      const bytes = Buffer.from(encrypted, 'base64url');
      if (bytes.length < nonceBytes + tagBytes) return undefined;
      for (const key of keysOf()) {
        const text = open(key, bytes);
        if (text !== undefined) return text;
      }
      return undefined;
    },
  };
}
