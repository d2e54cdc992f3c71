import { afterAll, expect } from '@jest/globals';
import { takeLeaks } from './canaries.js';

// No answer that a test asked for, and no line that a logger of the tests wrote, may hold a
// password, a key, a token or a cookie.
afterAll(() => {
  expect(takeLeaks()).toEqual([]);
});
