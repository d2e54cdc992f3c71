import { describe, expect, it } from '@jest/globals';
import { isSafeNext } from '../../src/auth/next.js';

const refused = [
  '',
  'evil.example',
  '//evil.example',
  '///evil.example',
  '/\\evil.example',
  '\\\\evil.example',
  '/\t/evil.example',
  '/\n/evil.example',
  ' //evil.example',
  '/ /evil.example',
  '\u0000//evil.example',
  'http://evil.example',
  'https:evil.example',
  'javascript:alert(1)',
  'data:text/html,x',
  '//app.example@evil.example',
  '/%2f/evil.example',
  '/%5cevil.example',
  '/%252f%252fevil.example',
  '/.//evil.example',
  '/tasks/..//evil.example',
  '/%2e%2e//evil.example',
  '/%0d%0aSet-Cookie:%20a=b',
  '/tasks\r\nSet-Cookie: a=b',
  '/\u2215evil.example',
  '/\uff0fevil.example',
  '/\u202eelpmaxe.live',
  '?next=//evil.example',
  '#//evil.example',
  '.',
  '..',
  './tasks',
  'tasks',
  '@evil.example',
  '/tasks/auth/logout',
  '/tasks/auth/login',
  '/tasks/auth/login?next=/tasks/auth/login',
  '/tasks/dashboard/../../../admin',
  '/tasks/dashboard%',
  '/%',
  '/\ud800',
  'x://y',
  '//',
  '/\\',
  '/tasks/auth%2flogout',
];
const accepted = [
  '/tasks/dashboard',
  '/tasks/dashboard?status=failed&q=a%2Fb',
  '/tasks/dashboard#task=0199',
  '/tasks/dashboard?u=https://evil.example/',
  '/tasks/dashboard?x=//evil',
  '/tasks',
  '/reports/7?from=2026-01-01&to=2026-02-01',
  '/',
  '/;@evil.example',
  '/%E3%80%B1evil.example',
  '/evil.example',
];

describe('isSafeNext', () => {
  it.each(refused.map((next) => [JSON.stringify(next), next]))('refuses %s', (_shown, next) => {
    expect(isSafeNext(next)).toBe(false);
  });

  it.each(accepted)('accepts %s', (next) => {
    expect(isSafeNext(next)).toBe(true);
  });

  it.each([
    ['a list', ['/a', '//evil']],
    ['nothing', undefined],
    ['an object', { 0: '/a' }],
    ['2049 characters', `/${'a'.repeat(2048)}`],
  ])('refuses %s', (_case, next) => {
    expect(isSafeNext(next)).toBe(false);
  });
});
