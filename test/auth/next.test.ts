import { describe, expect, it } from '@jest/globals';
import { isSafeNext } from '../../src/auth/next.js';
import { nexts } from '../attacks/corpus.js';

describe('isSafeNext', () => {
  it.each(nexts.refuse.map((next) => [JSON.stringify(next), next]))(
    'rejects %s',
    (_shown, next) => {
      expect(isSafeNext(next)).toBe(false);
    },
  );

  it.each(nexts.accept)('accepts %s', (next) => {
    expect(isSafeNext(next)).toBe(true);
  });

  it.each([
    ['a list', ['/a', '//evil']],
    ['nothing', undefined],
    ['an object', { 0: '/a' }],
    ['2049 characters', `/${'a'.repeat(2048)}`],
  ])('rejects %s', (_case, next) => {
    expect(isSafeNext(next)).toBe(false);
  });
});
