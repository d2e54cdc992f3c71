import { describe, expect, it } from '@jest/globals';
import { cyclesOf, importsIn } from './helpers/imports.js';

describe('the imports of the source files', () => {
  it('form no cycle, including imports of types', () => {
    expect(cyclesOf(importsIn(''))).toEqual([]);
  });
});
