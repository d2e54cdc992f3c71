import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { encodeArguments, encodeResult } from '../../src/tasks/arguments.js';

class Money {
  readonly cents = 1;
}
const cycle: Record<string, unknown> = { a: 1 };
cycle.self = cycle;
const deep = JSON.parse(`${'['.repeat(600)}${']'.repeat(600)}`) as unknown;
const limit = 1024;
const encode = (...args: unknown[]): string => encodeArguments('t', args, limit);

describe('encodeArguments', () => {
  it.each<[string, unknown[], string]>([
    ['a function', [() => 1], 'args[0] is a function'],
    ['a symbol', [Symbol('x')], 'args[0] is a symbol'],
    ['a bigint', [1n], 'args[0] is a bigint'],
    ['a Date', [new Date()], 'args[0] is a Date'],
    ['a Map', [new Map()], 'args[0] is a Map'],
    ['a Set', [new Set()], 'args[0] is a Set'],
    ['a class instance', [new Money()], 'args[0] is a Money'],
    ['a Buffer', [Buffer.from('x')], 'args[0] is a Buffer'],
    ['an Error', [new Error('x')], 'args[0] is an Error'],
    ['NaN', [Number.NaN], 'args[0] is NaN'],
    ['an infinity', [1, Number.NEGATIVE_INFINITY], 'args[1] is -Infinity'],
    ['undefined inside an array', [[1, undefined]], 'args[0][1] is undefined'],
    ['a hole in an array', [new Array(1)], 'args[0][0] is undefined'],
    ['undefined before another argument', [undefined, 1], 'args[0] is undefined'],
    [
      'a Date deep inside',
      [{ user: { 'born at': [new Date()] } }],
      'args[0].user["born at"][0] is a Date',
    ],
    ['a cycle', [cycle], 'args[0].self is a circular reference'],
    ['an object with toJSON', [{ toJSON: () => 1 }], 'args[0].toJSON is a function'],
    ['a symbol as a key', [{ [Symbol('x')]: 1 }], 'symbol as a key'],
    ['endless nesting', [deep], 'nested more than 500 deep'],
    ['a Proxy', [new Proxy({}, {})], 'args[0] is a Proxy'],
  ])('rejects %s and names its place', (_case, args, message) => {
    expect(() => encode(...args)).toThrow(TypeError);
    expect(() => encode(...args)).toThrow(
      expect.objectContaining({ message: expect.stringContaining(message) }),
    );
  });

  it('drops trailing undefined arguments', () => {
    expect(encode(1, undefined, undefined)).toBe('[1]');
    expect(encode(undefined)).toBe('[]');
  });

  it('accepts the same object twice if it does not contain itself', () => {
    const shared = { a: 1 };
    expect(encode(shared, [shared])).toBe('[{"a":1},[{"a":1}]]');
  });

  it('rejects arguments over the size limit', () => {
    expect(() => encode('é'.repeat(600))).toThrow(RangeError);
  });

  it('stores accepted arguments unchanged', () => {
    fc.assert(
      fc.property(
        fc.array(fc.jsonValue({ noUnicodeString: false } as object), { maxLength: 3 }),
        (args) => {
          const text = encodeArguments('t', args, 1_000_000);
          // JSON has no negative zero. It becomes zero, which is equal.
          expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(args)));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('rejects every value that would change', () => {
    fc.assert(
      fc.property(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withNullPrototype: false,
        }),
        (value) => {
          let text: string;
          try {
            text = encodeArguments('t', [[value]], 1_000_000);
          } catch (error) {
            expect(error).toBeInstanceOf(TypeError);
            return;
          }
          const plus = (_key: string, each: unknown): unknown => (Object.is(each, -0) ? 0 : each);
          expect(JSON.stringify(JSON.parse(text), plus)).toBe(JSON.stringify([[value]], plus));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('encodeResult', () => {
  it('stores a JSON result and omits undefined', () => {
    expect(encodeResult({ a: [1] }, limit)).toEqual({ result: '{"a":[1]}' });
    expect(encodeResult(undefined, limit)).toEqual({});
  });

  it.each<[string, unknown, string]>([
    ['a Date', { at: new Date() }, 'result.at is a Date; JSON cannot represent that'],
    ['too many bytes', 'x'.repeat(2000), 'result is 2,002 bytes as JSON; the limit is 1,024'],
    [
      'a getter that throws',
      Object.defineProperty({}, 'x', {
        enumerable: true,
        get: () => {
          throw new Error('no');
        },
      }),
      'reading the result threw an error',
    ],
  ])('omits a result with %s and gives the reason', (_case, value, resultOmitted) => {
    expect(encodeResult(value, limit)).toEqual({ resultOmitted });
  });
});
