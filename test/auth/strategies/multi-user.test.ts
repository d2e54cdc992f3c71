import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import type { UserEntry } from '../../../src/auth/strategies/configured-user.js';
import { multiUser } from '../../../src/auth/strategies/multi-user.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import type { AuthContext } from '../../../src/auth/strategies/strategy.js';
import { cheapHash, scryptHash } from '../../helpers/passwords.js';
import { leastWork, quickest } from '../../helpers/quickest.js';

const context: AuthContext = { signal: new AbortController().signal, ip: '', requestId: '' };

describe('staticUser', () => {
  const strategy = staticUser('admin', 'secret');

  it.each([
    ['the right name and password', 'admin', 'secret', true],
    ['a wrong password', 'admin', 'wrong', false],
    ['another name', 'root', 'secret', false],
    ['the name in capitals', 'ADMIN', 'secret', false],
    ['a blank after the password', 'admin', 'secret ', false],
  ])('gives the right answer to %s', async (_case, username, password, verdict) => {
    expect(await strategy.authenticate_user(username, password, context)).toBe(verdict);
  });

  it.each(['пароль', 'كلمة السر', '密码', 'é', '👨‍👩‍👧', ' leading and trailing '])(
    'accepts only the password %j',
    async (password) => {
      const user = staticUser('имя', password);
      expect(await user.authenticate_user('имя', password, context)).toBe(true);
      expect(await user.authenticate_user('имя', `${password}x`, context)).toBe(false);
    },
  );

  it('accepts a password in any composition of its accents', async () => {
    const user = staticUser('a', 'caf\u00e9');
    expect(await user.authenticate_user('a', 'cafe\u0301', context)).toBe(true);
  });

  it('accepts a scrypt hash in PHC format', async () => {
    const user = staticUser('a', cheapHash('secret'));
    expect(await user.authenticate_user('a', 'secret', context)).toBe(true);
    expect(await user.authenticate_user('a', 'other', context)).toBe(false);
  });

  it('returns the configured roles', async () => {
    expect(
      await staticUser('a', 'pw', { roles: ['viewer'] }).authenticate_user('a', 'pw', context),
    ).toEqual({
      ok: true,
      roles: ['viewer'],
    });
  });

  it('shows no password if it is printed', async () => {
    const strategies = [
      staticUser('admin', 'Canary-Pa55word'),
      multiUser([['bob', 'Canary-Pa55word']]),
    ];
    expect(
      inspect(strategies, { depth: Number.POSITIVE_INFINITY, showHidden: true }),
    ).not.toContain('Canary');
    expect(JSON.stringify(strategies)).not.toContain('Canary');
    await strategies[0]?.authenticate_user('admin', 'x', context);
  });

  it.each([
    ['a password that is not set', undefined, /password of 'admin' is not set/],
    ['an empty password', '', /password of 'admin'/],
    ['a number', 12345678 as unknown as string, /password of 'admin'/],
    ['a hash in an unknown format', '$2b$12$abcdefghijklmnopqrstuv', /\$scrypt\$/],
    [
      'a hash of absurd cost',
      `$scrypt$ln=30,r=8,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}`,
      /1 GiB|ln from 1 to 20/,
    ],
  ])('rejects %s at once', (_case, password, message) => {
    expect(() => staticUser('admin', password)).toThrow(message);
  });

  it('never shows the value of an invalid password', () => {
    expect(() => staticUser('admin', '$canary$value')).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('canary') }),
    );
  });
});

describe('multiUser', () => {
  it('accepts each user only with their own password', async () => {
    const strategy = multiUser([
      ['alice', cheapHash('one')],
      ['bob', cheapHash('two'), { roles: [] }],
    ]);
    expect(await strategy.authenticate_user('alice', 'one', context)).toBe(true);
    expect(await strategy.authenticate_user('alice', 'two', context)).toBe(false);
    expect(await strategy.authenticate_user('bob', 'two', context)).toEqual({
      ok: true,
      roles: [],
    });
    expect(await strategy.authenticate_user('constructor', 'one', context)).toBe(false);
  });

  it('does as much work for an unknown name as for a known one', async () => {
    const strategy = multiUser([['alice', 'one']]);
    await strategy.authenticate_user('alice', 'x', context);
    const workFor = (name: string) =>
      leastWork(() => strategy.authenticate_user(name, 'x', context));
    await workFor('nobody');
    const [known, unknown] = [await workFor('alice'), await workFor('nobody')];
    expect(unknown).toBeGreaterThan(known / 4);
  });

  it('takes as long for a cheap hash and an unknown name as for the costliest hash', async () => {
    const strategy = multiUser([
      ['alice', cheapHash('one')],
      ['bob', scryptHash('two', { ln: 15, r: 8, p: 1 })],
    ]);
    const timed = (name: string, password = 'x') =>
      quickest(0, () => strategy.authenticate_user(name, password, context), 3);
    // The first check measures the cost.
    await timed('bob');
    const known = await timed('bob');
    expect(await timed('nobody')).toBeGreaterThan(known / 4);
    expect(await timed('alice')).toBeGreaterThan(known / 4);
    expect(await timed('alice', 'one')).toBeLessThan(known / 2);
  });

  it.each([
    ['an empty list', []],
    ['a user without a password', [['alice']]],
    ['a user that is text', ['alice']],
    ['a name that is a number', [[1, 'pw']]],
    ['a member too many', [['a', 'pw', {}, 1]]],
    ['an unknown option', [['a', 'pw', { role: 'viewer' }]]],
    ['roles as text', [['a', 'pw', { roles: 'viewer' }]]],
  ])('rejects %s', (_case, users) => {
    expect(() => multiUser(users as unknown as UserEntry[])).toThrow(TypeError);
  });

  it('rejects a duplicate name', () => {
    expect(() =>
      multiUser([
        ['a', 'x'],
        ['a', 'y'],
      ]),
    ).toThrow(/'a' is given twice/);
  });
});
