import { scryptSync } from 'node:crypto';

/** Makes a scrypt hash with a cost that the test chooses. */
export function scryptHash(
  password: string,
  { ln, r, p }: { ln: number; r: number; p: number },
): string {
  const salt = Buffer.from('0123456789abcdef');
  const N = 2 ** ln;
  const key = scryptSync(password.normalize('NFC'), salt, 32, {
    N,
    r,
    p,
    maxmem: 128 * N * r * 2 + 2 ** 20,
  });
  const encode = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
  return `$scrypt$ln=${ln},r=${r},p=${p}$${encode(salt)}$${encode(key)}`;
}

/** Makes a hash with the lowest cost, so that frequent logins in a test are fast. */
export function cheapHash(password: string): string {
  return scryptHash(password, { ln: 4, r: 1, p: 1 });
}

export { password, secretKey } from './canaries.js';
