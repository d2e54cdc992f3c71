import { describe, expect, it } from '@jest/globals';
import { memoryStore } from '../../src/store/memory-store.js';
import { describeStore } from '../contract/store.js';

describeStore('memory', async () => {
  const store = memoryStore();
  return { store, other: store, cleanUp: async () => {} };
});

describe('memoryStore', () => {
  it('holds no more keys than it may, and drops what would expire first', async () => {
    const store = memoryStore({ maxKeys: 3 });
    await store.set('long', 1, 100);
    await store.set('short', 1, 10);
    await store.set('middle', 1, 50);
    await store.set('new', 1, 20);
    expect(await Promise.all(['long', 'short', 'middle', 'new'].map((key) => store.get(key)))).toEqual([1, undefined, 1, 1]);
  });

  it('holds no more entries of a log than it may', async () => {
    const store = memoryStore({ maxLogEntries: 2 });
    for (const n of [1, 2, 3]) await store.append('log', n, 60);
    expect(await store.page('log')).toEqual({ items: [3, 2], nextCursor: null });
  });
});
