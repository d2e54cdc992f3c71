import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { createAuth } from '../../../src/auth/create-auth.js';
import { type CachedOptions, cached } from '../../../src/auth/strategies/cached.js';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import { staticUser } from '../../../src/auth/strategies/static-user.js';
import type {
  AuthContext,
  AuthStrategy,
  KnownUser,
} from '../../../src/auth/strategies/strategy.js';
import { recordingLogger } from '../../helpers/logs.js';
import { secretKey } from '../../helpers/passwords.js';
import { eventually } from '../../helpers/wait.js';

const context: AuthContext = { signal: new AbortController().signal, ip: '', requestId: '' };

/** Makes a cached strategy for the user ann. It records the passwords that it is asked for. */
function cachedAnn(options: CachedOptions = { seconds: 600 }, more: Partial<AuthStrategy> = {}) {
  const asked: string[] = [];
  const user = { password: 'secret', known: { version: '1', roles: ['viewer'] } as KnownUser };
  const inner: AuthStrategy = {
    async authenticate_user(username, password) {
      asked.push(password);
      const { roles = [] } = user.known;
      return username === 'ann' && password === user.password && { ok: true, roles: [...roles] };
    },
    find_user: (name) => (name === 'ann' ? user.known : undefined),
    ...more,
  };
  const strategy = cached(inner, options);
  const signIn = async (password: string, username = 'ann') =>
    strategy.authenticate_user(username, password, context);
  return { strategy, signIn, asked, user };
}

describe('cached', () => {
  it('asks the strategy only once for a right password', async () => {
    const { signIn, asked } = cachedAnn();
    for (let n = 0; n < 3; n++)
      expect(await signIn('secret')).toMatchObject({ ok: true, roles: ['viewer'] });
    expect(asked).toEqual(['secret']);
  });

  it('asks for another password, and for the same password of another user', async () => {
    const { signIn, asked } = cachedAnn();
    await signIn('secret');
    for (const password of ['wrong', 'Secret', 'secret ', 'secre', ''])
      expect(await signIn(password)).toBe(false);
    expect(await signIn('secret', 'bob')).toBe(false);
    expect(await signIn('nsecret', 'an')).toBe(false);
    expect(asked).toHaveLength(8);
  });

  it('remembers no failure', async () => {
    const { signIn, asked, user } = cachedAnn();
    expect(await signIn('later')).toBe(false);
    expect(await signIn('later')).toBe(false);
    user.password = 'later';
    expect(await signIn('later')).toMatchObject({ ok: true });
    expect(asked).toHaveLength(3);
  });

  it('asks again after the version or the roles of the user changed', async () => {
    const { signIn, asked, user } = cachedAnn();
    await signIn('secret');
    user.known = { version: '2', roles: ['viewer'] };
    user.password = 'new';
    expect(await signIn('secret')).toBe(false);
    expect(await signIn('new')).toMatchObject({ ok: true });
    user.known = { version: '2', roles: [] };
    expect(await signIn('new')).toMatchObject({ ok: true, roles: [] });
    expect(asked).toEqual(['secret', 'secret', 'new', 'new']);
  });

  it('asks again if the password changed during the check', async () => {
    const { signIn, asked, user, strategy } = cachedAnn(undefined, {
      async authenticate_user(_name, password) {
        asked.push(password);
        const isRight = password === user.password;
        user.password = 'new';
        user.known = { version: '2' };
        return isRight;
      },
    });
    expect(await signIn('secret')).toBe(true);
    expect(await strategy.authenticate_user('ann', 'secret', context)).toBe(false);
  });

  it('asks always for a name that find_user does not know', async () => {
    const { signIn, asked } = cachedAnn(undefined, { find_user: () => undefined });
    await signIn('secret');
    await signIn('secret');
    expect(asked).toHaveLength(2);
  });

  it('asks again after the time, even if the password was used meanwhile', async () => {
    const { signIn, asked } = cachedAnn({ seconds: 0.5 });
    await eventually(async () => {
      expect(await signIn('secret')).toMatchObject({ ok: true });
      expect(asked.length).toBeGreaterThan(1);
    });
  });

  it('forgets the oldest of many passwords', async () => {
    let asked = 0;
    const inner: AuthStrategy = {
      authenticate_user() {
        asked += 1;
        return true;
      },
    };
    const strategy = cached(inner, { seconds: 600 });
    const signIn = async (n: number) => strategy.authenticate_user(`user ${n}`, 'x', context);
    for (let n = 0; n <= 10_000; n++) await signIn(n);
    await signIn(10_000);
    expect(asked).toBe(10_001);
    await signIn(0);
    expect(asked).toBe(10_002);
  });

  it('remembers no answer that is not a verdict, and passes errors on', async () => {
    const wrong = cachedAnn(undefined, { authenticate_user: () => 1 as never });
    await expect(wrong.signIn('secret')).rejects.toThrow(TypeError);
    const fails = cachedAnn(undefined, { authenticate_user: () => Promise.reject(new Error('x')) });
    await expect(fails.signIn('secret')).rejects.toThrow('x');
    const lost = cachedAnn(undefined, { find_user: () => Promise.reject(new Error('y')) });
    await expect(lost.signIn('secret')).rejects.toThrow('y');
  });

  it('works with a strategy that has no find_user', async () => {
    const { strategy, signIn, asked } = cachedAnn(undefined, { find_user: undefined } as object);
    expect('find_user' in strategy).toBe(false);
    await signIn('secret');
    await signIn('secret');
    expect(asked).toHaveLength(1);
  });

  it('keeps the other members of the strategy', async () => {
    class Directory implements AuthStrategy {
      readonly label = 'Company';
      readonly local = true;
      readonly staleFor = 60;
      readonly called: string[] = [];
      authenticate_user = () => false;
      async check() {
        this.called.push('check');
      }
      attach() {
        this.called.push('attach');
      }
      find_user() {
        this.called.push('find_user');
        return undefined;
      }
    }
    const inner = new Directory();
    const strategy = cached(inner, { seconds: 1 });
    expect(strategy).toMatchObject({ label: 'Company', local: true, staleFor: 60 });
    createAuth({ strategies: strategy, secretKey, logger: false });
    await strategy.check?.(context.signal);
    await strategy.find_user?.('ann', context);
    expect(inner.called).toEqual(['attach', 'check', 'find_user']);
  });

  it.each<[string, (inner: AuthStrategy) => Record<string, AuthStrategy>]>([
    ['beside the strategy', (inner) => ({ inner, wrapped: cached(inner, { seconds: 1 }) })],
    ['before the strategy', (inner) => ({ wrapped: cached(inner, { seconds: 1 }), inner })],
    [
      'twice',
      (inner) => ({ one: cached(inner, { seconds: 1 }), two: cached(inner, { seconds: 9 }) }),
    ],
  ])('is refused %s, which would get the parts of two names', (_case, strategiesOf) => {
    const called: string[] = [];
    const inner: AuthStrategy = {
      authenticate_user: () => false,
      attach: ({ name }) => void called.push(name),
    };
    const strategies = new StrategyRegistry();
    for (const [name, strategy] of Object.entries(strategiesOf(inner)))
      strategies.register(name, strategy);
    expect(() => createAuth({ strategies, secretKey, logger: false })).toThrow(
      'is already used by another login or under another name',
    );
    expect(called).toHaveLength(1);
  });

  it('keeps the warnings about the passwords of a strategy', () => {
    const { logger, text } = recordingLogger();
    const weak = staticUser('ann', `$2b$04$${'a'.repeat(53)}`);
    createAuth({ strategies: cached(weak, { seconds: 1 }), secretKey, logger });
    expect(text()).toContain('bcrypt with a cost below 10');
  });

  it('shows no password if it is printed', async () => {
    const { strategy, signIn } = cachedAnn();
    await signIn('secret');
    const depth = Number.POSITIVE_INFINITY;
    expect(inspect(strategy, { depth, showHidden: true })).not.toContain('secret');
  });

  it.each([
    ['no strategy', undefined, { seconds: 1 }, /cached: strategy is undefined/],
    [
      'a strategy of another kind',
      { authenticate_request: () => true },
      { seconds: 1 },
      /password/,
    ],
    ['no seconds', staticUser('a', 'b'), {}, /cached: seconds is not set/],
    ['no options', staticUser('a', 'b'), undefined, /cached: seconds is not set/],
    ['0 seconds', staticUser('a', 'b'), { seconds: 0 }, /seconds is 0/],
    ['more than an hour', staticUser('a', 'b'), { seconds: 3601 }, /at most 3,600/],
    ['an unknown option', staticUser('a', 'b'), { seconds: 1, max: 2 }, /no option "max"/],
  ])('throws at the call for %s', (_what, strategy, options, message) => {
    expect(() => cached(strategy as AuthStrategy, options as CachedOptions)).toThrow(message);
  });
});
