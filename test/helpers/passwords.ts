import { scryptSync } from 'node:crypto';

/** A hash of least cost, so that tests which log in often do not wait for it. */
export function cheapHash(password: string): string {
  const salt = Buffer.from('0123456789abcdef');
  const key = scryptSync(password.normalize('NFC'), salt, 32, { N: 16, r: 1, p: 1 });
  const encode = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
  return `$scrypt$ln=4,r=1,p=1$${encode(salt)}$${encode(key)}`;
}

export { password, secretKey } from './canaries.js';
