import * as crypto from 'node:crypto';
import { describe, expect, it, jest } from '@jest/globals';
import { secretKey } from '../../helpers/passwords.js';

let macs = 0;
jest.unstable_mockModule('node:crypto', () => ({
  ...crypto,
  createHmac: (...args: Parameters<typeof crypto.createHmac>) => {
    macs += 1;
    return crypto.createHmac(...args);
  },
}));
const { createTokens } = await import('../../../src/auth/sessions/tokens.js');

const secretKeys = [secretKey];
const tokens = createTokens({
  secretKeys: () => secretKeys,
  audience: '/tasks',
  tokenExpiry: 3600,
  now: Date.now,
});
const at = new Date();
const good = tokens.sign(
  {
    id: 'jti-0123456789abcdef',
    username: 'alice',
    strategy: 'team',
    roles: [],
    issuedAt: at,
    authenticatedAt: at,
    expiresAt: new Date(at.getTime() + 60_000),
  },
  '',
);
const [header = '', payload = '', signature = ''] = good.split('.');

describe('a token with an impossible format', () => {
  it.each([
    ['is too long', `${header}.${'A'.repeat(4096)}.${signature}`],
    ['has too few dots', `${header}.${payload}${signature}`],
    ['has too many dots', `${good}.`],
    ['contains a character outside base64url', `${header}.${payload}+.${signature}`],
    ['has a signature of another length', `${good}A`],
    ['has an unknown header', `${header.slice(0, -1)}A.${payload}.${signature}`],
  ])('costs no signature if it %s', (_case, token) => {
    macs = 0;
    expect(tokens.read(token)).toBeUndefined();
    expect(macs).toBe(0);
  });

  it('costs no more than one signature, and a valid one is verified once', () => {
    macs = 0;
    expect(tokens.read(`${header}.${payload}.${'A'.repeat(43)}`)).toBeUndefined();
    expect(macs).toBe(1);
    for (let n = 0; n < 10; n++) expect(tokens.read(good)).toBeDefined();
    expect(macs).toBe(2);
  });
});
