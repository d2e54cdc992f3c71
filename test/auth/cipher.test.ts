import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { createCipher } from '../../src/auth/cipher.js';

const [key, older] = [randomBytes(32), randomBytes(32)];

describe('createCipher', () => {
  it.each(['', 'a', 'ä🙂\0', 'x'.repeat(100_000)])('returns what it encrypted', (text) => {
    const { encrypt, decrypt } = createCipher(() => [key], 'test');
    expect(decrypt(encrypt(text))).toBe(text);
    expect(encrypt(text)).not.toBe(encrypt(text));
  });

  it('decrypts with each of its keys', () => {
    const encrypted = createCipher(() => [older], 'test').encrypt('secret');
    expect(createCipher(() => [key, older], 'test').decrypt(encrypted)).toBe('secret');
    expect(createCipher(() => [key], 'test').decrypt(encrypted)).toBeUndefined();
  });

  it('does not decrypt a text that was encrypted for another use', () => {
    const encrypted = createCipher(() => [key], 'test').encrypt('secret');
    expect(createCipher(() => [key], 'other').decrypt(encrypted)).toBeUndefined();
  });

  it('does not decrypt a changed, shortened or foreign text', () => {
    const { encrypt, decrypt } = createCipher(() => [key], 'test');
    const bytes = Buffer.from(encrypt('secret'), 'base64url');
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ 1;
      expect(decrypt(changed.toString('base64url'))).toBeUndefined();
      expect(decrypt(bytes.subarray(0, index).toString('base64url'))).toBeUndefined();
    }
    for (const foreign of ['', 'x', '🙂', 'A'.repeat(5000)])
      expect(decrypt(foreign)).toBeUndefined();
  });
});
