import { createHash, createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { jwtVerify, SignJWT } from 'jose';
import type { Session } from '../../../src/auth/sessions/session.js';
import { createTokens, type Tokens } from '../../../src/auth/sessions/tokens.js';
import { secretKeysOption } from '../../../src/secret-options.js';
import { secretKey } from '../../helpers/passwords.js';

const now = Date.parse('2026-03-01T12:00:00Z');
const session: Session = {
  id: 'jti-0123456789abcdef',
  username: 'alice',
  strategy: 'team',
  roles: ['viewer'],
  issuedAt: new Date(now),
  authenticatedAt: new Date(now),
  expiresAt: new Date(now + 3_600_000),
};
const otherKey = 'another-secret-key-of-the-tests-0123456789';

const onlyKey = [secretKey];

function tokensAt(time: number, keys: readonly string[] = onlyKey, audience = '/tasks') {
  return createTokens({ secretKeys: () => keys, audience, tokenExpiry: 3600, now: () => time });
}

/** Returns the session of a token that is valid now. */
function verify(by: Tokens, token: string): Session | undefined {
  const read = by.read(token);
  return read && by.isCurrent(read) ? read : undefined;
}

const tokens = tokensAt(now);
const good = tokens.sign(session, 'v1');
const [header = '', payload = '', signature = ''] = good.split('.');
const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const mac = (text: string, key = secretKey): string =>
  createHmac('sha256', key).update(text).digest('base64url');
const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
/** Makes a token with another payload and the right signature for it. */
const signed = (body: unknown): string =>
  `${header}.${encode(body)}.${mac(`${header}.${encode(body)}`)}`;
const signedHeader = (head: unknown): string =>
  `${encode(head)}.${payload}.${mac(`${encode(head)}.${payload}`)}`;
const kid = createHash('sha256').update('kid').update(secretKey).digest('base64url').slice(0, 8);

describe('session tokens', () => {
  beforeEach(() => {
    jest.useFakeTimers({
      now,
      doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'setTimeout'],
    });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('return the session that they were made from', () => {
    expect(verify(tokens, good)).toEqual(session);
  });

  it('are valid for an independent JWT library', async () => {
    const { payload: read, protectedHeader } = await jwtVerify(
      good,
      new TextEncoder().encode(secretKey),
      { audience: '/tasks' },
    );
    expect(protectedHeader).toEqual({ alg: 'HS256', typ: 'JWT', kid });
    expect(read).toMatchObject({
      sub: 'alice',
      jti: session.id,
      strategy: 'team',
      roles: ['viewer'],
      iat: now / 1000,
      exp: now / 1000 + 3600,
      auth_time: now / 1000,
      sv: 'v1',
    });
  });

  it('are accepted if an independent JWT library made them with the same key', async () => {
    const made = await new SignJWT({ ...claims })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT', kid })
      .sign(new TextEncoder().encode(secretKey));
    expect(verify(tokens, made)).toEqual(session);
  });

  it.each([
    ['is empty', ''],
    ['has no signature', `${header}.${payload}`],
    ['has an empty signature', `${header}.${payload}.`],
    ['has an extra part', `${good}.x`],
    ['has padding', `${good}=`],
    ['has a line break at its end', `${good}\n`],
    ['is cut by one character', good.slice(0, -1)],
    ['is longer than 4 KiB', `${header}.${'A'.repeat(5000)}.${signature}`],
    ['has its parts swapped', `${signature}.${header}.${payload}`],
    [
      'was signed with another key',
      `${header}.${payload}.${mac(`${header}.${payload}`, otherKey)}`,
    ],
    ['says alg none', `${encode({ alg: 'none', typ: 'JWT', kid })}.${payload}.`],
    ['says alg none and has a signature', signedHeader({ alg: 'none', typ: 'JWT', kid })],
    ['says HS512', signedHeader({ alg: 'HS512', typ: 'JWT', kid })],
    ['names no key', signedHeader({ alg: 'HS256', typ: 'JWT' })],
    ['names an unknown key', signedHeader({ alg: 'HS256', typ: 'JWT', kid: '../../dev/null' })],
    ['contains a key', signedHeader({ alg: 'HS256', typ: 'JWT', kid, jwk: {} })],
    ['has its header in another order', signedHeader({ typ: 'JWT', alg: 'HS256', kid })],
    ['has no exp', signed({ ...claims, exp: undefined })],
    ['has exp as text', signed({ ...claims, exp: String(claims.exp) })],
    [
      'has exp beyond all numbers',
      signed(JSON.stringify(claims).replace(/"exp":[\d.]+/, '"exp":1e999')),
    ],
    ['lasts longer than is allowed today', signed({ ...claims, exp: now / 1000 + 3602 })],
    ['was issued in an hour', signed({ ...claims, iat: now / 1000 + 3599 })],
    ['was authenticated after it was issued', signed({ ...claims, auth_time: now / 1000 + 5 })],
    ['is of another mount', signed({ ...claims, aud: '/admin' })],
    ['is of a list of mounts', signed({ ...claims, aud: ['/tasks'] })],
    ['has an empty name', signed({ ...claims, sub: '' })],
    ['has a name with a line break', signed({ ...claims, sub: 'a\r\nb' })],
    ['has a name of 300 characters', signed({ ...claims, sub: 'a'.repeat(300) })],
    ['has roles as text', signed({ ...claims, roles: 'admin' })],
    ['has 33 roles', signed({ ...claims, roles: Array.from({ length: 33 }, () => 'x') })],
    ['has an extra claim', signed({ ...claims, nbf: 1 })],
    [
      'has a claim twice',
      signed(JSON.stringify(claims).replace('"sub":"alice"', '"sub":"alice","sub":"root"')),
    ],
    ['has white space in its claims', signed(` ${JSON.stringify(claims)}`)],
    ['has a list for claims', signed([])],
    ['has null for claims', signed('null')],
    ['has invalid JSON for claims', signed('{')],
    ['has a __proto__ for claims', signed('{"__proto__":{"sub":"alice"}}')],
  ])('open no session if the token %s', (_case, token) => {
    expect(verify(tokens, token)).toBeUndefined();
  });

  it('are rejected with any flipped bit in the signature', () => {
    const bytes = Buffer.from(signature, 'base64url');
    for (let bit = 0; bit < 256; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(
        verify(tokens, `${header}.${payload}.${flipped.toString('base64url')}`),
      ).toBeUndefined();
    }
  });

  it('are rejected with another spelling of the last character of the signature', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const twins = [...alphabet].filter(
      (last) =>
        last !== signature.at(-1) &&
        Buffer.from(signature.slice(0, -1) + last, 'base64url').equals(
          Buffer.from(signature, 'base64url'),
        ),
    );
    expect(twins).toHaveLength(3);
    for (const twin of twins)
      expect(
        verify(tokens, `${header}.${payload}.${signature.slice(0, -1)}${twin}`),
      ).toBeUndefined();
  });

  it.each([
    ['one millisecond before its end', 3_599_999, true],
    ['at its end', 3_600_000, false],
    ['long after', 9_000_000, false],
    ['a minute before it was issued', -60_000, true],
    ['more than a minute before it was issued', -60_001, false],
  ])('have the right validity %s', (_case, offset, valid) => {
    expect(verify(tokensAt(now + offset), good) !== undefined).toBe(valid);
  });

  it('are checked against the clock each time', () => {
    let time = now;
    const clocked = createTokens({
      secretKeys: () => onlyKey,
      audience: '/tasks',
      tokenExpiry: 3600,
      now: () => time,
    });
    expect(verify(clocked, good)).toBeDefined();
    time = now + 3_600_000;
    expect(verify(clocked, good)).toBeUndefined();
  });

  it('are not verified with a key that was dropped, even if they were verified before', () => {
    let keys: readonly string[] = [otherKey, secretKey];
    const rotated = createTokens({
      secretKeys: () => keys,
      audience: '/tasks',
      tokenExpiry: 3600,
      now: () => now,
    });
    expect(verify(rotated, good)).toEqual(session);
    keys = [otherKey];
    expect(verify(rotated, good)).toBeUndefined();
    expect(rotated.isOurs(good)).toBe(false);
    expect(rotated.keyIds).toHaveLength(1);
  });

  it('are signed with the first key and verified with all keys', () => {
    const rotated = tokensAt(now, [otherKey, secretKey]);
    expect(verify(rotated, good)).toEqual(session);
    expect(verify(tokens, rotated.sign(session, 'v1'))).toBeUndefined();
    expect(verify(tokensAt(now, [otherKey]), good)).toBeUndefined();
  });
});

describe('secretKey', () => {
  it.each<[string, unknown, typeof Error]>([
    ['empty', '', RangeError],
    ['31 characters long', 'abcdefghijklmnopqrstuvwxyz01234', RangeError],
    ['monotonous', 'abcabcabcabcabcabcabcabcabcabcabcabc', RangeError],
    ['a number', 1234567890, TypeError],
    ['an empty list', [], RangeError],
    ['a list with one key twice', [secretKey, secretKey], RangeError],
  ])('is rejected without being shown if it is %s', (_case, value, Kind) => {
    const read = () => secretKeysOption('secretKey', value as string);
    expect(read).toThrow(Kind);
    try {
      read();
    } catch (error) {
      const { message } = error as Error;
      expect(message).toContain('secretKey');
      for (const key of [value].flat())
        if (String(key).length > 8) expect(message).not.toContain(String(key));
    }
  });
});
