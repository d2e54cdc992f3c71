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

const tokens = createTokens({
  secretKeys: [secretKey],
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

describe('a token that cannot be one of ours', () => {
  it.each([
    ['is too long', `${header}.${'A'.repeat(4096)}.${signature}`],
    ['has a dot too few', `${header}.${payload}${signature}`],
    ['has a dot too many', `${good}.`],
    ['holds a character that base64url has not', `${header}.${payload}+.${signature}`],
    ['has a signature of another length', `${good}A`],
    ['has a header that we never wrote', `${header.slice(0, -1)}A.${payload}.${signature}`],
  ])('costs no signature when it %s', (_case, token) => {
    macs = 0;
    expect(tokens.read(token)).toBeUndefined();
    expect(macs).toBe(0);
  });

  it('costs one signature when it is only forged, and a good one costs one, once', () => {
    macs = 0;
    expect(tokens.read(`${header}.${payload}.${'A'.repeat(43)}`)).toBeUndefined();
    expect(macs).toBe(1);
    for (let n = 0; n < 10; n++) expect(tokens.read(good)).toBeDefined();
    expect(macs).toBe(2);
  });
});
