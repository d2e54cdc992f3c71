import { describe, expect, it } from '@jest/globals';
import { cyclesOf, importsIn } from './helpers/imports.js';

describe('the imports of the source files', () => {
  it('form no circle, even of types alone', () => {
    expect(cyclesOf(importsIn(''))).toEqual([]);
  });
});
