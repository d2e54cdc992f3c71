import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { isAuth } from '../../src/auth/auth.js';
import type { AuthOptions } from '../../src/auth/auth-options.js';
import { createAuth } from '../../src/auth/create-auth.js';
import { StrategyRegistry } from '../../src/auth/strategies/registry.js';
import { recordingLogger } from '../helpers/logs.js';
import { cheapHash, password, secretKey } from '../helpers/passwords.js';

const strategies: AuthOptions['strategies'] = ['admin', cheapHash(password)];
const quiet = { strategies, secretKey, logger: false } as const;

describe('createAuth', () => {
  it.each<[string, unknown]>([
    ['one user', ['admin', password]],
    [
      'a list of users',
      [
        ['alice', 'a'],
        ['bob', 'b', { roles: ['viewer'] }],
      ],
    ],
    ['a sync backend', { authenticate_user: () => true }],
    ['an async backend', { authenticate_user: async () => true }],
    ['a registry', new StrategyRegistry().register('x', { authenticate_user: () => true })],
  ])('accepts %s', (_case, form) => {
    expect(isAuth(createAuth({ ...quiet, strategies: form as AuthOptions['strategies'] }))).toBe(
      true,
    );
  });

  it.each<[string, Partial<Record<keyof AuthOptions | 'typo', unknown>>, RegExp]>([
    ['no strategies', { strategies: undefined }, /strategies/],
    ['an empty user list', { strategies: [] }, /strategies is an empty list/],
    ["['a']", { strategies: ['a'] }, /strategies/],
    ['an object without authenticate_user', { strategies: { login: () => true } }, /strategies/],
    ['an empty registry', { strategies: new StrategyRegistry() }, /without a strategy/],
    [
      'a password that is not set',
      { strategies: ['admin', undefined] },
      /password of 'admin' is not set/,
    ],
    ['an empty key', { secretKey: '' }, /secretKey/],
    ['a short key', { secretKey: 'short' }, /32 characters/],
    ['a monotonous key', { secretKey: 'a'.repeat(64) }, /8 different/],
    ['an expiry of 0', { tokenExpiry: 0 }, /tokenExpiry is 0/],
    ['a negative expiry', { tokenExpiry: -1 }, /tokenExpiry/],
    ['an expiry as text', { tokenExpiry: '3600' }, /tokenExpiry/],
    ['an unknown key', { typo: 1 }, /no option "typo"/],
    ['a path without a slash', { path: 'tasks' }, /path/],
    ['a path with a slash at its end', { path: '/tasks/' }, /path/],
    ['an empty path', { path: '' }, /path/],
    ['a home on another host', { home: '//evil.example' }, /home/],
    ['SameSite none without secure', { cookie: { sameSite: 'none' } }, /secure/],
    ['an unknown cookie option', { cookie: { path: '/' } }, /no option "path"/],
    ['a trusted origin with a path', { trustedOrigins: ['https://a.example/'] }, /trustedOrigins/],
    ['an invalid store', { store: {} }, /store/],
    ['an invalid logger', { logger: 'console' }, /logger/],
  ])('rejects %s', (_case, wrong, message) => {
    expect(() => createAuth({ ...quiet, ...wrong } as AuthOptions)).toThrow(message);
  });

  it('warns once without a key that sessions end at a restart', () => {
    const { logger, lines } = recordingLogger();
    createAuth({ strategies: { authenticate_user: () => false }, logger });
    const warnings = lines.filter(({ level }) => level === 40);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatchObject({ level: 40, msg: expect.stringContaining('restart') });
  });

  it('logs the configuration of the login once and warns of a weak hash', () => {
    const { logger, lines, text } = recordingLogger();
    createAuth({ strategies, secretKey, logger });
    expect(lines).toMatchObject([
      {
        level: 30,
        event: 'sys_startup',
        strategies: ['default'],
        randomKey: false,
        keyIds: [expect.stringMatching(/^[\w-]{8}$/)],
      },
      {
        level: 40,
        event: 'sys_startup',
        weakness: expect.stringContaining("user 'admin': scrypt with less work"),
      },
    ]);
    expect(text()).not.toContain(secretKey);
  });

  it('returns an object that shows no key if it is printed', () => {
    const auth = createAuth(quiet);
    expect(inspect(auth, { depth: Number.POSITIVE_INFINITY, showHidden: true })).not.toContain(
      secretKey.slice(0, 12),
    );
    expect(JSON.stringify(auth)).not.toContain(secretKey.slice(0, 12));
  });
});
