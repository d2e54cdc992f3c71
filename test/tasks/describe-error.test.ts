import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { describeError } from '../../src/tasks/describe-error.js';
import type { TaskError } from '../../src/tasks/types.js';

const described = (thrown: unknown) => describeError('t', thrown);
const refusesAll = (): never => {
  throw new Error('trap');
};
const hostileProxy = (target: object): object =>
  new Proxy(target, {
    get: refusesAll,
    has: refusesAll,
    getPrototypeOf: refusesAll,
    ownKeys: refusesAll,
    getOwnPropertyDescriptor: refusesAll,
  });
const withGetter = (key: string): Error =>
  Object.defineProperty(new Error('x'), key, { get: refusesAll });
const cycle: Record<string, unknown> = { a: 1 };
cycle.self = cycle;

class HttpError extends Error {
  readonly status = 418;
  readonly response = { body: 'secret of the response' };
}

/** Returns an error and all errors within it. */
function all(error: TaskError): TaskError[] {
  return [error, ...(error.cause ? all(error.cause) : []), ...(error.errors ?? []).flatMap(all)];
}
const characters = (error: TaskError): number =>
  all(error).reduce((sum, { message, stack }) => sum + message.length + (stack?.length ?? 0), 0);

describe('describeError', () => {
  it.each<[string, unknown, { name: string; message: string; code?: string }]>([
    ['undefined', undefined, { name: 'undefined', message: 'undefined' }],
    ['null', null, { name: 'object', message: 'null' }],
    ['a string', 'plain', { name: 'string', message: 'plain' }],
    ['a number', 42, { name: 'number', message: '42' }],
    ['a bigint', 10n, { name: 'bigint', message: '10' }],
    ['a symbol', Symbol('s'), { name: 'symbol', message: 'Symbol(s)' }],
    ['a function', function lost() {}, { name: 'function', message: 'function lost' }],
    ['a class', HttpError, { name: 'function', message: 'class HttpError, thrown without new' }],
    [
      'a plain object',
      { code: 'E_PAYMENT', status: 402 },
      { name: 'object', message: '{"code":"E_PAYMENT","status":402}', code: 'E_PAYMENT' },
    ],
    ['a list', ['a', 1n], { name: 'object', message: '["a","1"]' }],
    ['an object without a prototype', Object.create(null), { name: 'object', message: '{}' }],
    [
      'an object that contains itself',
      cycle,
      { name: 'object', message: '{"a":1,"self":"[circular]"}' },
    ],
    [
      'an object with a message',
      { message: 'not found', code: -32601 },
      { name: 'Error', message: 'not found', code: '-32601' },
    ],
    [
      'a message that is an object',
      { message: { reason: 'x' } },
      { name: 'Error', message: '{"reason":"x"}' },
    ],
    [
      'a subclass without a name',
      new HttpError('teapot'),
      { name: 'HttpError', message: 'teapot' },
    ],
    [
      'a name that is cut within a surrogate pair',
      { name: `${'N'.repeat(199)}\u{1f600}`, message: 'x' },
      { name: `${'N'.repeat(199)}\ufffd`, message: 'x' },
    ],
    [
      'a frozen error',
      Object.freeze(new RangeError('cold')),
      { name: 'RangeError', message: 'cold' },
    ],
    [
      'an error of another realm',
      runInNewContext('new TypeError("far")'),
      { name: 'TypeError', message: 'far' },
    ],
    [
      'a DOMException, without its legacy code',
      new DOMException('late', 'TimeoutError'),
      { name: 'TimeoutError', message: 'late' },
    ],
    [
      'a system error',
      Object.assign(new Error('no file'), { code: 'ENOENT', errno: -2 }),
      { name: 'Error', message: 'no file', code: 'ENOENT' },
    ],
    [
      'a text with NUL and half a pair',
      new Error('a\0b\ud800c'),
      { name: 'Error', message: 'a\ufffdb\ufffdc' },
    ],
  ])('describes %s', (_case, thrown, kept) => {
    const { stack, fingerprint, ...error } = described(thrown);
    expect(error).toEqual(kept);
    expect(fingerprint).toMatch(/^[0-9a-f]{16}$/);
    expect(typeof stack === 'string').toBe(
      typeof thrown === 'object' && thrown !== null && 'stack' in thrown,
    );
  });

  it.each<[string, unknown]>([
    ['a Proxy that throws', hostileProxy({})],
    ['a Proxy of a function', hostileProxy(() => 1)],
    [
      'a revoked Proxy',
      (() => {
        const { proxy, revoke } = Proxy.revocable({}, {});
        revoke();
        return proxy;
      })(),
    ],
    ...['name', 'message', 'stack', 'code', 'cause', 'errors'].map((key): [string, unknown] => [
      `a getter of ${key} that throws`,
      withGetter(key),
    ]),
    ['an AggregateError with members that throw', new AggregateError([hostileProxy({})], 'x')],
    ['an object with a toString that throws', { toString: refusesAll, toJSON: refusesAll }],
  ])('does not fail on %s', (_case, thrown) => {
    const error = described(thrown);
    expect(typeof error.name).toBe('string');
    expect(typeof error.message).toBe('string');
    expect(() => JSON.stringify(error)).not.toThrow();
  });

  it('keeps every cause with its code and stack', () => {
    const root = Object.assign(new TypeError('no route'), { code: 'EHOSTUNREACH' });
    const error = described(
      new Error('could not bill', { cause: new RangeError('no answer', { cause: root }) }),
    );
    expect(all(error).map(({ name, message, code }) => [name, message, code])).toEqual([
      ['Error', 'could not bill', undefined],
      ['RangeError', 'no answer', undefined],
      ['TypeError', 'no route', 'EHOSTUNREACH'],
    ]);
    for (const { name, stack } of all(error))
      expect(stack).toMatch(new RegExp(`^${name}: .*\n +at .*describe-error`));
    expect(error.truncated).toBeUndefined();
  });

  it('keeps causes that are not errors, and members of any type', () => {
    expect(described(new Error('x', { cause: { status: 402 } })).cause).toMatchObject({
      name: 'object',
      message: '{"status":402}',
    });
    expect(described(new Error('x', { cause: null })).cause).toBeUndefined();
    const { errors } = described(new AggregateError([new Error('one'), 'two'], 'x'));
    expect(errors?.map(({ name, message }) => [name, message])).toEqual([
      ['Error', 'one'],
      ['string', 'two'],
    ]);
  });

  it('keeps an `errors` list only if it contains errors', () => {
    expect(
      described(Object.assign(new Error('x'), { errors: [new Error('field')] })).errors,
    ).toHaveLength(1);
    expect(
      described(Object.assign(new Error('x'), { errors: [{ field: 'a' }] })).errors,
    ).toBeUndefined();
  });

  it('stops at a circular cause', () => {
    const first = new Error('first');
    const second = new Error('second', { cause: first });
    first.cause = second;
    expect(all(described(first)).map(({ message }) => message)).toEqual(['first', 'second']);
    const group = new AggregateError([], 'group');
    group.errors.push(group, new Error('member'));
    expect(all(described(group)).map(({ message }) => message)).toEqual(['group', 'member']);
  });

  it('leaves out attached properties, which may hold whole requests', () => {
    expect(JSON.stringify(described(new HttpError('teapot')))).not.toContain(
      'secret of the response',
    );
  });

  it.each<[string, () => unknown]>([
    [
      'a chain of 10,000 causes',
      () =>
        Array.from({ length: 10_000 }).reduce<Error>(
          (cause, _, n) => new Error(`level ${n}`, { cause }),
          new Error('root'),
        ),
    ],
    [
      '10,000 members',
      () =>
        new AggregateError(
          Array.from({ length: 10_000 }, (_, n) => new Error(`member ${n}`)),
          'x',
        ),
    ],
    [
      'members that each have members',
      () => {
        const tree = (depth: number): Error =>
          depth === 0
            ? new Error('leaf')
            : new AggregateError(
                Array.from({ length: 5 }, () => tree(depth - 1)),
                'node',
              );
        return tree(6);
      },
    ],
    [
      'endless causes',
      () => {
        const endless = (): object => ({
          message: 'again',
          get cause() {
            return endless();
          },
        });
        return endless();
      },
    ],
  ])('truncates %s and marks the error', (_case, make) => {
    const error = described(make());
    expect(all(error).length).toBeLessThanOrEqual(21);
    expect(characters(error)).toBeLessThan(80_000);
    expect(all(error).some(({ truncated }) => truncated)).toBe(true);
  });

  it('cuts a long message and keeps the stack frames', () => {
    const error = described(
      new Error('y'.repeat(5_000_000), { cause: new Error('z'.repeat(5_000_000)) }),
    );
    expect(characters(error)).toBeLessThan(40_000);
    for (const { stack } of all(error)) expect(stack).toMatch(/\n +at .*describe-error/);
    const object = described({
      list: Array.from({ length: 100_000 }, (_, n) => ({ n })),
      text: 'x'.repeat(1_000_000),
    });
    expect(object.message.length).toBeLessThan(9000);
    expect(object.message).toContain('99950 more');
  });

  it('groups an error by its own name, not by its class', () => {
    const plain = new Error('teapot');
    const special = new HttpError('teapot');
    special.stack = plain.stack ?? '';
    expect(described(special).fingerprint).toBe(described(plain).fingerprint);
  });
});
