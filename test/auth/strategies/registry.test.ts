import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { StrategyRegistry } from '../../../src/auth/strategies/registry.js';
import type {
  AuthStrategy,
  RedirectStrategy,
  RequestStrategy,
  Strategy,
  Verdict,
} from '../../../src/auth/strategies/strategy.js';

const context = { ip: '127.0.0.1', requestId: 'r' };
const credentials = { username: 'alice', password: 'secret' };
const answering = (verdict: unknown): AuthStrategy => ({
  authenticate_user: () => verdict as Verdict,
});
const throwing = (error: unknown): AuthStrategy => ({
  authenticate_user() {
    throw error;
  },
});
const redirecting: RedirectStrategy = { begin: () => 'https://id.example', complete: () => true };
const requesting: RequestStrategy = { authenticate_request: () => undefined, ambient: true };

describe('StrategyRegistry', () => {
  it.each([
    ['true', true],
    ['an object with ok: true', { ok: true }],
    ['a promise of true', Promise.resolve(true)],
  ])('signs a user in if a strategy answers %s', async (_case, verdict) => {
    const registry = new StrategyRegistry().register('team', answering(verdict));
    expect(await registry.authenticate(credentials, context)).toEqual({
      username: 'alice',
      strategy: 'team',
      roles: ['admin'],
    });
  });

  it.each([
    ['false', false],
    ['a promise of false', Promise.resolve(false)],
    ['undefined', undefined],
    ['null', null],
    ['1', 1],
    ["'yes'", 'yes'],
    ["'true'", 'true'],
    ['an empty object', {}],
    ['a database row', { id: 7, username: 'alice' }],
    ['ok as text', { ok: 'true' }],
    ['a list', [true]],
    ['a function', () => true],
    ['a boxed boolean', Object(true)],
    ['a bigint', 1n],
    ['a promise of 1', Promise.resolve(1)],
    ['a promise of a row', Promise.resolve({ id: 7 })],
    // biome-ignore lint/suspicious/noThenProperty: the test passes a thenable on purpose.
    ['a thenable of text', { then: (resolve: (value: unknown) => void) => resolve('true') }],
    ['a rejection', Promise.reject(new Error('down'))],
    [
      'a Proxy that throws',
      new Proxy(
        {},
        {
          get: () => {
            throw new Error('trap');
          },
        },
      ),
    ],
    ['an empty name', { ok: true, username: '' }],
    ['a number for a name', { ok: true, username: 1 }],
    ['a name with a NUL', { ok: true, username: 'a\0' }],
    ['roles as text', { ok: true, roles: 'admin' }],
  ])('signs no user in if a strategy answers %s', async (_case, verdict) => {
    const registry = new StrategyRegistry().register('team', answering(verdict));
    expect(await registry.authenticate(credentials, context)).toBeUndefined();
  });

  it('takes the name and the roles from the verdict', async () => {
    const registry = new StrategyRegistry().register(
      'team',
      answering({ ok: true, username: 'Alice', roles: ['viewer'] }),
    );
    expect(await registry.authenticate(credentials, context)).toEqual({
      username: 'Alice',
      strategy: 'team',
      roles: ['viewer'],
    });
  });

  it('skips and reports a strategy that fails', async () => {
    const onError = jest.fn();
    const registry = new StrategyRegistry()
      .register('ldap', throwing(new Error('down')))
      .register('static', answering(true));
    expect(await registry.authenticate(credentials, { ...context, onError })).toMatchObject({
      strategy: 'static',
    });
    expect(onError).toHaveBeenCalledWith(
      'ldap',
      expect.objectContaining({ message: 'down' }),
      expect.any(Number),
    );
  });

  it('asks only the strategy that the request names', async () => {
    const registry = new StrategyRegistry()
      .register('a', answering(true))
      .register('b', answering(false));
    expect(await registry.authenticate({ ...credentials, strategy: 'b' }, context)).toBeUndefined();
    expect(
      await registry.authenticate({ ...credentials, strategy: '__proto__' }, context),
    ).toBeUndefined();
  });

  it.each(['__proto__', '', 'a b', '-x', 'x'.repeat(65)])(
    'rejects the strategy name %j',
    (name) => {
      expect(() => new StrategyRegistry().register(name, answering(true))).toThrow(TypeError);
    },
  );

  it('rejects a second strategy with the same name and an invalid strategy', () => {
    const registry = new StrategyRegistry().register('a', answering(true));
    expect(() => registry.register('a', answering(true))).toThrow(RangeError);
    expect(() => registry.register('b', {} as AuthStrategy)).toThrow(/authenticate_user/);
  });

  it('lists strategies by kind, of password strategies the local ones first', () => {
    const registry = new StrategyRegistry()
      .register('okta', redirecting)
      .register('ldap', answering(true))
      .register('proxy', requesting)
      .register('static', { ...answering(true), local: true });
    expect(registry.names()).toEqual(['okta', 'ldap', 'proxy', 'static']);
    expect(registry.names('password')).toEqual(['static', 'ldap']);
    expect(registry.names('redirect')).toEqual(['okta']);
    expect(registry.names('request')).toEqual(['proxy']);
  });

  it('asks local strategies before others', async () => {
    const registry = new StrategyRegistry()
      .register('ldap', answering(true))
      .register('static', { ...answering(true), local: true });
    expect(await registry.authenticate(credentials, context)).toMatchObject({
      strategy: 'static',
    });
  });

  it.each([
    ['a redirecting strategy', redirecting, 'redirect'],
    ['a request strategy', requesting, 'request'],
  ])('never asks %s for a password', async (_case, strategy, kind) => {
    const registry = new StrategyRegistry().register('other', strategy as Strategy);
    expect(registry.names(kind as 'redirect')).toEqual(['other']);
    expect(await registry.authenticate(credentials, context)).toBeUndefined();
    expect(
      await registry.authenticate({ ...credentials, strategy: 'other' }, context),
    ).toBeUndefined();
  });

  it.each([
    ['password and redirect', { ...answering(true), begin: () => '/', complete: () => true }],
    ['password and request', { ...answering(true), authenticate_request: () => true }],
    ['redirect and request', { ...redirecting, ...requesting }],
  ])('rejects an object with the methods of the kinds %s', (kinds, strategy) => {
    const [one = '', other = ''] = kinds.split(' and ');
    expect(() => new StrategyRegistry().register('a', strategy as Strategy)).toThrow(
      `the methods of 2 kinds of strategies (${one}, ${other})`,
    );
  });

  it('rejects a redirecting strategy without `complete`', () => {
    expect(() => new StrategyRegistry().register('a', { begin: () => '/' } as never)).toThrow(
      /without the methods of a strategy/,
    );
  });

  it.each([
    ['locked', 'locked'],
    ['name_taken', 'name_taken'],
    ['password=hunter2', 'other'],
    ['x'.repeat(33), 'other'],
    ['', 'other'],
    [7, 'other'],
  ])('reports the reason %j of a rejection as %s', async (reason, reported) => {
    const onRejected = jest.fn();
    const registry = new StrategyRegistry().register('team', answering({ ok: false, reason }));
    expect(await registry.authenticate(credentials, { ...context, onRejected })).toBeUndefined();
    expect(onRejected).toHaveBeenCalledWith('team', reported);
  });

  it('reports no reason for `false` and for `{ ok: false }`', async () => {
    const onRejected = jest.fn();
    const registry = new StrategyRegistry()
      .register('a', answering(false))
      .register('b', answering({ ok: false }));
    expect(await registry.authenticate(credentials, { ...context, onRejected })).toBeUndefined();
    expect(onRejected).not.toHaveBeenCalled();
  });
});

describe('StrategyRegistry with a hanging strategy', () => {
  beforeEach(() => {
    jest.useFakeTimers({
      doNotFake: ['nextTick', 'queueMicrotask', 'performance', 'setImmediate'],
    });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('aborts the call after the time limit and asks the next strategy', async () => {
    let aborted = false;
    const hanging: AuthStrategy = {
      authenticate_user: (_username, _password, { signal }) => {
        signal.addEventListener('abort', () => {
          aborted = true;
        });
        return new Promise(() => {});
      },
    };
    const registry = new StrategyRegistry()
      .register('hanging', hanging)
      .register('static', answering(true));
    const found = registry.authenticate(credentials, context);
    await jest.advanceTimersByTimeAsync(10_000);
    expect(await found).toMatchObject({ strategy: 'static' });
    expect(aborted).toBe(true);
  });
});
