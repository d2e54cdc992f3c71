import { describe, expect, it } from '@jest/globals';
import { didYouMean } from '../src/did-you-mean.js';
import * as queries from '../src/tasks/query-schemas.js';

const taskOptions = [
  'retries',
  'delay',
  'backoff',
  'maxDelay',
  'timeout',
  'deadline',
  'concurrency',
  'queue',
  'priority',
  'tags',
];

describe('the suggestion for an unknown name', () => {
  it.each([
    ['retry', 'retries'],
    ['attempts', 'retries'],
    ['maxRetries', 'retries'],
    ['retryDelay', 'delay'],
    ['Timeout', 'timeout'],
    ['time_out', 'timeout'],
    ['tag', 'tags'],
    ['quueue', 'queue'],
    ['qeuue', 'queue'],
    ['prioritiy', 'priority'],
  ])('for %s is %s', (unknown, meant) => {
    expect(didYouMean(unknown, taskOptions)).toBe(` Did you mean "${meant}"?`);
  });

  it.each(['user', 'colour', '', '__proto__', 'constructor', 'x'.repeat(1_000_000)])(
    'is absent for %.20s',
    (unknown) => {
      expect(didYouMean(unknown, taskOptions)).toBe('');
    },
  );

  const schemas = Object.entries({ ...queries, ...queries.commands }).filter(
    ([, schema]) => 'shape' in schema,
  ) as unknown as [string, { shape: object }][];

  it.each(schemas)(
    'is the right key for a plural and for swapped letters, in %s',
    (_name, { shape }) => {
      const keys = Object.keys(shape);
      for (const key of keys.filter(({ length }) => length > 2)) {
        expect(didYouMean(`${key}s`, keys)).toContain(`"${key}"`);
        expect(didYouMean(key.charAt(1) + key.charAt(0) + key.slice(2), keys)).toContain(
          `"${key}"`,
        );
      }
    },
  );
});
