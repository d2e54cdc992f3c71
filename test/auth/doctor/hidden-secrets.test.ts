import { afterEach, expect, it } from '@jest/globals';
import { secretsHider } from '../../../src/auth/doctor/hidden-secrets.js';

const name = 'TEST_STORE_URL';
afterEach(() => {
  delete process.env[name];
});

it.each([
  ['redis://user:long%2Fpassword@host', ['long%2Fpassword', 'long/password']],
  ['redis://user:half%password@host', ['half%password']],
])('hides the password of %s in the environment', (url, passwords) => {
  process.env[name] = url;
  for (const password of passwords)
    expect(secretsHider([])(`no ${password}`)).toBe('no [redacted]');
});

it('hides secrets in a text of a million characters within two seconds', () => {
  const hide = secretsHider(['a-long-secret']);
  const started = performance.now();
  for (const part of ['a.', 'a://', 'a-long-secret'])
    expect(hide(part.repeat(1_000_000 / part.length))).not.toContain('a-long-secret');
  expect(performance.now() - started).toBeLessThan(2000);
});
