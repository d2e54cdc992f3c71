import { describe, expect, it } from '@jest/globals';
import { memoryStore } from '../../src/store/memory-store.js';
import { describeStore } from '../contract/store.js';

describeStore('memory', async () => {
  const store = memoryStore();
  return { store, other: store, cleanUp: async () => {} };
});

describe('memoryStore', () => {
  it('drops the entry that expires first when it is full', async () => {
    const store = memoryStore({ maxKeys: 3 });
    await store.set('long', 1, 100);
    await store.set('short', 1, 10);
    await store.set('middle', 1, 50);
    await store.set('new', 1, 20);
    expect(
      await Promise.all(['long', 'short', 'middle', 'new'].map((key) => store.get(key))),
    ).toEqual([1, undefined, 1, 1]);
  });

  it('drops entries of low rank first, the oldest first, and none before its time', async () => {
    const clock = { now: 1_000_000 };
    const store = memoryStore({ maxKeys: 5, now: () => clock.now });
    const put = (key: string, rank: number, notBefore = 0) =>
      store.replace(key, undefined, key, 1000, { rank, notBefore });
    await store.set('session', 'session', 1);
    await put('block', 1, clock.now + 5000);
    await put('high', 49);
    await put('old', 2);
    await put('new', 2);
    const kept = async () => {
      const found = await Promise.all(
        ['session', 'block', 'high', 'old', 'new', 'a', 'b'].map((key) => store.get(key)),
      );
      return found.filter((value) => value !== undefined);
    };
    await put('a', 1);
    expect(await kept()).toEqual(['session', 'block', 'high', 'new', 'a']);
    await put('b', 3);
    expect(await kept()).toEqual(['session', 'block', 'high', 'new', 'b']);
    await store.set('a', 'a', 60);
    expect(await kept()).toEqual(['session', 'block', 'high', 'a', 'b']);
    clock.now += 2000;
    await put('new', 60);
    expect(await kept()).toEqual(['block', 'high', 'new', 'a', 'b']);
    clock.now += 3000;
    await put('old', 70);
    expect(await kept()).toEqual(['high', 'old', 'new', 'a', 'b']);
  });

  it('rejects a write if no entry may be dropped yet', async () => {
    const store = memoryStore({ maxKeys: 2, now: () => 0 });
    for (const key of ['a', 'b'])
      await store.replace(key, undefined, 1, 60, { rank: 1, notBefore: 1 });
    await expect(store.replace('c', undefined, 1, 60)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
    });
    expect(await store.get('a')).toBe(1);
  });

  it('keeps no more log entries than its limit', async () => {
    const store = memoryStore({ maxLogEntries: 2 });
    for (const n of [1, 2, 3]) await store.append('log', n, 60);
    expect(await store.page('log')).toEqual({ items: [3, 2], nextCursor: null });
  });
});
