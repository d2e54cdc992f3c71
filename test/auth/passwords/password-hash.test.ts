import { pbkdf2Sync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { hash as argon2Hash } from '@node-rs/argon2';
import { hash as bcryptHash } from '@node-rs/bcrypt';
import { parseHash } from '../../../src/auth/passwords/password-hash.js';
import { storePassword } from '../../../src/auth/passwords/stored-password.js';
import { cheapHash } from '../../helpers/passwords.js';

const encode = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
const salt = Buffer.from('0123456789abcdef');
const pbkdf2 = (digest: 'sha256' | 'sha512', length: number): string =>
  [`$pbkdf2-${digest}`, 'i=1000', encode(salt)].join('$') +
  `$${encode(pbkdf2Sync('secret', salt, 1000, length, digest))}`;
const key = 'A'.repeat(43);
const saltText = 'A'.repeat(22);

const made: [string, () => Promise<string>][] = [
  ['scrypt', async () => cheapHash('secret')],
  [
    'argon2id',
    () => argon2Hash('secret', { algorithm: 2, memoryCost: 256, timeCost: 1, parallelism: 1 }),
  ],
  [
    'argon2i',
    () => argon2Hash('secret', { algorithm: 1, memoryCost: 256, timeCost: 3, parallelism: 1 }),
  ],
  ['bcrypt ($2b$)', () => bcryptHash('secret', 4)],
  [
    'bcrypt ($2y$, as htpasswd writes it)',
    async () => (await bcryptHash('secret', 4)).replace(/^\$2b/, '$2y'),
  ],
  ['bcrypt ($2a$)', async () => (await bcryptHash('secret', 4)).replace(/^\$2b/, '$2a')],
  ['pbkdf2-sha256', async () => pbkdf2('sha256', 32)],
  ['pbkdf2-sha512', async () => pbkdf2('sha512', 64)],
  [
    'pbkdf2-sha256 as passlib writes it',
    async () => pbkdf2('sha256', 32).replace('i=', '').replaceAll('+', '.'),
  ],
];

describe('a configured hash', () => {
  it.each(made)('of %s accepts its password only', async (_case, make) => {
    const stored = storePassword('alice', await make());
    expect(await stored.matches('secret')).toBe(true);
    expect(await stored.matches('secret ')).toBe(false);
    expect(await stored.matches('Secret')).toBe(false);
  });

  it('of bcrypt never matches by the first 72 bytes', async () => {
    const stored = storePassword('alice', await bcryptHash('a'.repeat(72), 4));
    expect(await stored.matches('a'.repeat(72))).toBe(true);
    expect(await stored.matches(`${'a'.repeat(72)}x`)).toBe(false);
    expect(await stored.matches('a'.repeat(73))).toBe(false);
  });

  it.each([
    ['text that begins with $ but is not a hash', '$ecret'],
    ['apr1', '$apr1$abcdefgh$abcdefghijklmnopqrstuv'],
    ['SHA-crypt', '$5$abcdefgh$abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG'],
    ['argon2d', `$argon2d$v=19$m=65536,t=3,p=4$${saltText}$${key}`],
    ['argon2id of an old version', `$argon2id$v=16$m=65536,t=3,p=4$${saltText}$${key}`],
    [
      'argon2id with its parameters in another order',
      `$argon2id$v=19$t=3,m=65536,p=4$${saltText}$${key}`,
    ],
    ['argon2id without a hash', `$argon2id$v=19$m=65536,t=3,p=4$${saltText}`],
    ['a salt that is too short', `$argon2id$v=19$m=65536,t=3,p=4$AA$${key}`],
    ['bcrypt cut by one character', `$2b$12$${'a'.repeat(52)}`],
    ['bcrypt with an unknown prefix', `$2x$12$${'a'.repeat(53)}`],
    ['scrypt with padding', `$scrypt$ln=15,r=8,p=3$${saltText}==$${key}`],
    ['a line break at its end', `$scrypt$ln=15,r=8,p=3$${saltText}$${key}\n`],
  ])('is rejected, and not used as a plain password, if it is %s', (_case, text) => {
    expect(() => parseHash('password', text)).toThrow(TypeError);
    expect(() => storePassword('alice', text)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining(text.slice(3)) }),
    );
  });

  it.each([
    ['scrypt of 2 GiB', `$scrypt$ln=20,r=16,p=1$${saltText}$${key}`],
    ['scrypt of ln 21', `$scrypt$ln=21,r=1,p=1$${saltText}$${key}`],
    ['scrypt of no blocks', `$scrypt$ln=15,r=0,p=1$${saltText}$${key}`],
    ['argon2id of more than 1 GiB', `$argon2id$v=19$m=1048577,t=1,p=1$${saltText}$${key}`],
    ['argon2id of 21 passes', `$argon2id$v=19$m=65536,t=21,p=1$${saltText}$${key}`],
    ['argon2id without memory', `$argon2id$v=19$m=1,t=1,p=1$${saltText}$${key}`],
    ['bcrypt of cost 17', `$2b$17$${'a'.repeat(53)}`],
    ['bcrypt of cost 3', `$2b$03$${'a'.repeat(53)}`],
    ['pbkdf2 of 100 million rounds', `$pbkdf2-sha256$i=100000000$${saltText}$${key}`],
  ])('is rejected if its cost is out of range: %s', (_case, text) => {
    expect(() => parseHash('password', text)).toThrow(RangeError);
  });

  it.each<[string, string, boolean]>([
    ['scrypt at the minimum', `$scrypt$ln=15,r=8,p=3$${saltText}$${key}`, false],
    ['scrypt below it', `$scrypt$ln=14,r=8,p=3$${saltText}$${key}`, true],
    ['argon2id of 46 MiB', `$argon2id$v=19$m=47104,t=1,p=1$${saltText}$${key}`, false],
    ['argon2id of 19 MiB, twice', `$argon2id$v=19$m=19456,t=2,p=1$${saltText}$${key}`, false],
    ['argon2id of 19 MiB, once', `$argon2id$v=19$m=19456,t=1,p=1$${saltText}$${key}`, true],
    ['bcrypt of cost 10', `$2b$10$${'a'.repeat(53)}`, false],
    ['bcrypt of cost 9', `$2b$09$${'a'.repeat(53)}`, true],
    ['pbkdf2-sha256 of 600,000', `$pbkdf2-sha256$i=600000$${saltText}$${key}`, false],
    ['pbkdf2-sha512 of 209,999', `$pbkdf2-sha512$i=209999$${saltText}$${key}`, true],
  ])('is weak only below the OWASP minimum: %s', (_case, text, weak) => {
    expect(parseHash('password', text).weakness !== undefined).toBe(weak);
  });
});
