import { describe, expect, it } from '@jest/globals';
import { fingerprint } from '../../src/tasks/fingerprint.js';

const stack = 'TypeError: x\n    at lib (/app/node_modules/lib/a.js:1:2)\n    at sendEmail (/app/src/mail.ts:42:19)';
const of = (message: string, more: { name?: string; stack?: string } = {}): string =>
  fingerprint('send', { name: 'TypeError', message, stack, ...more });

describe('fingerprint', () => {
  it('is the same for failures that differ in numbers and ids alone', () => {
    const first = of('user 17 of 0198f3aa-1111-7222-8333-444455556666 has no address');
    expect(of('user 4711 of 0198f3aa-9999-7222-8333-444455550000 has no address')).toBe(first);
    expect(of('user 17 of 0198f3aa-1111-7222-8333-444455556666 has no address', { stack: stack.replace('42:19', '99:1') })).toBe(first);
  });

  it('differs by class, message and own frame', () => {
    const kinds = [of('a'), of('b'), of('a', { name: 'RangeError' }), of('a', { stack: stack.replace('sendEmail', 'sendLetter') })];
    expect(new Set(kinds).size).toBe(4);
  });
});
