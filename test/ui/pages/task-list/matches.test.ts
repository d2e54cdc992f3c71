import { describe, expect, it } from '@jest/globals';
import type { TaskSummary } from '../../../../src/client/client.js';
import { matches } from '../../../../src/ui/pages/task-list/matches.js';
import { type Filter, noFilter } from '../../../../src/ui/state/address.js';

const now = Date.parse('2026-11-03T14:00:00Z');
const task: TaskSummary = {
  id: '019a7c5e-6b1f-7c3a-9d2e-4f8b1a2c3d4e',
  name: 'send_email',
  status: 'failed',
  queue: 'mail',
  priority: 0,
  tags: { tenant: '7', constructor: 'x' },
  source: 'manual',
  createdAt: '2026-11-03T13:30:00.000Z',
  runAt: '2026-11-03T13:30:00.000Z',
  startedAt: null,
  endedAt: null,
  duration: null,
  attempt: 1,
  maxAttempts: 1,
  progress: null,
  error: { name: 'TypeError', message: 'no address for order 17' },
  fingerprint: '0123456789abcdef',
};

describe('the match of a changed task with the list', () => {
  it.each<[string, Partial<Filter>, boolean]>([
    ['nothing', {}, true],
    ['its state among others', { status: ['failed', 'cancelled'] }, true],
    ['another state', { status: ['success'] }, false],
    ['its function', { name: 'send_email' }, true],
    ['a part of its function', { name: 'send' }, false],
    ['its queue', { queue: 'mail' }, true],
    ['another queue', { queue: 'default' }, false],
    ['its tags', { tag: ['tenant:7', 'tenant'] }, true],
    ['another value of a tag', { tag: ['tenant:8'] }, false],
    ['a tag that every object has', { tag: ['toString'] }, false],
    ['its failure group', { fingerprint: '0123456789abcdef' }, true],
    ['words of its error and name', { q: 'Address  EMAIL' }, true],
    ['a word it does not have', { q: 'address bill' }, false],
    ['the prefix of its id', { q: '019A7c5e' }, true],
    ['the last hour', { from: '-1h' }, true],
    ['the last minutes', { from: '-15m' }, false],
    ['before a time', { to: '2026-11-03T13:00:00Z' }, false],
    ['a schedule', { schedule: 'nightly' }, false],
  ])('is right for %s', (_what, filter, expected) => {
    expect(matches(task, { ...noFilter, ...filter }, now)).toBe(expected);
  });
});
