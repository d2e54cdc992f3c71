import { describe, expect, it } from '@jest/globals';
import { fingerprint } from '../../src/tasks/fingerprint.js';
import type { TaskError } from '../../src/tasks/types.js';

const stack =
  'TypeError: x\n    at lib (/app/node_modules/lib/a.js:1:2)\n    at sendEmail ' +
  '(/app/src/mail.ts:42:19)';
const of = (message: string, more: Partial<TaskError> = {}): string =>
  fingerprint('send', { name: 'TypeError', message, stack, ...more });
const inner = (message: string, more: Partial<TaskError> = {}): TaskError => ({
  name: 'Error',
  message,
  stack: null,
  ...more,
});

describe('fingerprint', () => {
  it('is the same for failures that differ only in numbers and ids', () => {
    const first = of('user 17 of 0198f3aa-1111-7222-8333-444455556666 has no address');
    expect(of('user 4711 of 0198f3aa-9999-7222-8333-444455550000 has no address')).toBe(first);
    expect(
      of('user 17 of 0198f3aa-1111-7222-8333-444455556666 has no address', {
        stack: stack.replace('42:19', '99:1'),
      }),
    ).toBe(first);
  });

  it('differs by class, message and stack frame of the app', () => {
    const groups = [
      of('a'),
      of('b'),
      of('a', { name: 'RangeError' }),
      of('a', { stack: stack.replace('sendEmail', 'sendLetter') }),
    ];
    expect(new Set(groups).size).toBe(4);
  });

  it('does not change for an error without code, cause and members', () => {
    expect(of('user 17 has no address')).toBe('20a0c0f56538df67');
  });

  it('separates errors with the same message by their code', () => {
    const codes = ['23505', '23503', 'E_A', 'E_B'].map((code) => of('query failed', { code }));
    expect(new Set([of('query failed'), ...codes]).size).toBe(5);
  });

  it('ignores an id or a long number within a code', () => {
    expect(of('no', { code: 'REQ-1795935386621' })).toBe(of('no', { code: 'REQ-1795935386999' }));
  });

  it('separates errors with the same message by the code of their cause', () => {
    const refused = (host: string) =>
      of('fetch failed', {
        cause: inner(`connect ECONNREFUSED ${host}`, { code: 'ECONNREFUSED' }),
      });
    const notFound = of('fetch failed', {
      cause: inner('getaddrinfo ENOTFOUND a.example', { code: 'ENOTFOUND' }),
    });
    expect(refused('a.example:443')).toBe(refused('b.example:80'));
    expect(new Set([of('fetch failed'), refused('a.example:443'), notFound]).size).toBe(3);
  });

  it('is the same for one address that refuses a connection and for several', () => {
    const one = inner('connect ECONNREFUSED ::1:80', { code: 'ECONNREFUSED' });
    const several = inner('', {
      name: 'AggregateError',
      code: 'ECONNREFUSED',
      errors: [one, inner('connect ECONNREFUSED 127.0.0.1:80')],
    });
    expect(of('fetch failed', { cause: several })).toBe(of('fetch failed', { cause: one }));
  });

  it('depends on the innermost cause, not on the number of wrappers', () => {
    const root = inner('card 17 expired');
    const twice = inner('try 2 failed', {
      cause: inner('try 1 failed', { cause: inner('card 18 expired') }),
    });
    expect(of('could not bill', { cause: twice })).toBe(of('could not bill', { cause: root }));
    expect(of('could not bill', { cause: inner('card blocked') })).not.toBe(
      of('could not bill', { cause: root }),
    );
  });

  it('depends on the distinct members of an AggregateError, not on their order', () => {
    const members = (...messages: string[]) =>
      of('All promises were rejected', { errors: messages.map((message) => inner(message)) });
    expect(members('mirror A: 503', 'mirror B: no', 'mirror A: 502')).toBe(
      members('mirror B: no', 'mirror A: 500'),
    );
    expect(members('mirror A: 503')).not.toBe(members('mirror B: no'));
  });
});
