import { describe, expect, it } from '@jest/globals';
import { TurnoverMap, TurnoverSet } from '../../src/engines/turnover.js';
import { stillInMemory } from '../helpers/memory.js';

describe('a map with many additions and deletions', () => {
  it('behaves like a Map', () => {
    const [map, model] = [new TurnoverMap<number, number>(), new Map<number, number>()];
    for (let n = 0; n < 5000; n++) {
      const key = (n * 7919) % 97;
      if (n % 3 === 0) expect(map.delete(key)).toBe(model.delete(key));
      else {
        map.set(key, n);
        model.set(key, n);
      }
      expect(map.get(key)).toBe(model.get(key));
      expect(map.size).toBe(model.size);
    }
    expect([...map.values()]).toEqual([...model.values()]);
  });

  it('iterates over the values of a set in the order of their addition', () => {
    const set = new TurnoverSet([-2, -1]);
    for (let n = 0; n < 1000; n++) {
      set.add(n);
      if (n >= 50) expect(set.delete(n - 50)).toBe(true);
    }
    expect(set.delete(0)).toBe(false);
    expect(set.size).toBe(52);
    expect([...set]).toEqual([-2, -1, ...Array.from({ length: 50 }, (_, n) => 950 + n)]);
  });

  it('adds entries at a constant cost, however many it has', () => {
    const set = new TurnoverSet<number>();
    for (let n = 0; n < 20_000; n++) set.add(n);
    const began = performance.now();
    for (let n = 0; n < 20_000; n++) {
      set.add(20_000 + n);
      set.delete(n);
    }
    // It usually takes some milliseconds. One copy for each addition would take a minute.
    expect(performance.now() - began).toBeLessThan(5000);
    expect(set.size).toBe(20_000);
  });

  it('does not keep deleted values in memory', async () => {
    const set = new TurnoverSet<object>();
    // An iterator that is not used refers to the table that the set had when it was created.
    const iterator = set[Symbol.iterator]();
    const recent: object[] = [];
    const added: WeakRef<object>[] = [];
    for (let n = 0; n < 5000; n++) {
      const value = {};
      added.push(new WeakRef(value));
      set.add(value);
      recent.push(value);
      const oldest = recent.length > 50 ? recent.shift() : undefined;
      if (oldest) set.delete(oldest);
    }
    expect(await stillInMemory(added)).toBeLessThan(1000);
    expect(typeof iterator.next).toBe('function');
  });
});
