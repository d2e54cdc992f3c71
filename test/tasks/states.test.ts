import { describe, expect, it } from '@jest/globals';
import { canCancel, canRetry, isEnded, transitions } from '../../src/tasks/states.js';
import { taskStatuses } from '../../src/tasks/types.js';

describe('the states of a task', () => {
  it('have transitions', () => {
    expect(Object.keys(transitions).sort()).toEqual([...taskStatuses].sort());
  });

  it.each([
    ['pending', false, true, false],
    ['running', false, true, false],
    ['success', false, false, true],
    ['failed', true, false, true],
    ['interrupted', true, false, true],
    ['cancelled', true, false, true],
  ] as const)('permit for %s: retry %s, cancel %s, ended %s', (status, retry, cancel, ended) => {
    expect([canRetry(status), canCancel(status), isEnded(status)]).toEqual([retry, cancel, ended]);
  });
});
