import { afterAll, expect } from '@jest/globals';
import { takeLeaks } from './canaries.js';

// No answer and no log line of a test may contain a password, a key, a token or a cookie.
afterAll(() => {
  expect(takeLeaks()).toEqual([]);
});
