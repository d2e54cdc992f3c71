import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isFiltered, readView, viewQuery } from '../../../src/ui/state/address.js';

describe('the address of a view', () => {
  it('is empty for the first page, and sorted and without defaults for others', () => {
    expect(viewQuery(readView('').view)).toBe('');
    expect(viewQuery(readView('?view=overview&sort=-createdAt&tab=summary').view)).toBe('');
    expect(
      viewQuery(readView('?view=tasks&status=failed&name=a&status=interrupted&from=-1h').view),
    ).toBe('?from=-1h&name=a&status=failed&status=interrupted&view=tasks');
  });

  it('opens the task list if it contains conditions but no page', () => {
    expect(readView('?status=failed').view.view).toBe('tasks');
    expect(readView('?task=01890a5d-ac96-774b-bcce-b302099a8057').view.view).toBe('overview');
    expect(isFiltered(readView('?tag=tenant:7').view)).toBe(true);
  });

  it('accepts any job id and any name of BullMQ', () => {
    const [task, name] = ['mäil:order/1 👩‍👩‍👧', 'n'.repeat(300)];
    expect(
      readView(`?${new URLSearchParams({ task, name, queue: name, schedule: name })}`),
    ).toMatchObject({
      view: { task, name, queue: name, schedule: name },
      refused: [],
    });
    expect(readView(`?task=${'a'.repeat(5000)}`).refused).toEqual(['task']);
  });

  it('keeps unknown parameters and reports invalid values', () => {
    const { view, refused } = readView(
      '?utm=mail&status=odd&sort=up&tz=Mars/Base&attempt=0&fingerprint=x&view=tasks&__proto__=1',
    );
    expect(refused).toEqual(['status', 'sort', 'tz', 'attempt', 'fingerprint']);
    expect(viewQuery(view)).toBe('?__proto__=1&utm=mail&view=tasks');
  });

  it('does not change when it is read and written again', () => {
    const parameter = fc.tuple(
      fc.constantFrom(
        'view',
        'status',
        'name',
        'queue',
        'tag',
        'q',
        'from',
        'to',
        'sort',
        'cursor',
        'task',
        'tab',
        'attempt',
        'tz',
        'range',
        'x',
      ),
      fc.oneof(
        fc.string(),
        fc.constantFrom(
          'tasks',
          'failed',
          '-1h',
          '-duration',
          'logs',
          '3',
          'UTC',
          '2026-11-03T14:00:00Z',
          'k:v',
        ),
      ),
    );
    fc.assert(
      fc.property(fc.array(parameter, { maxLength: 8 }), (pairs) => {
        const { view } = readView(`?${new URLSearchParams(pairs)}`);
        const again = readView(viewQuery(view));
        expect(again.refused).toEqual([]);
        expect(viewQuery(again.view)).toBe(viewQuery(view));
      }),
    );
  });
});
