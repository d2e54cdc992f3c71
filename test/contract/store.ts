import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { SharedStore, StoreEntry } from '../../src/store/shared-store.js';
import { quickest, seenAlive } from '../helpers/quickest.js';
import { sleep, waitFor } from '../helpers/wait.js';

export interface StoreUnderTest {
  store: SharedStore;
  /** The same store as another process sees it. */
  other: SharedStore;
  cleanUp(): Promise<void>;
}

/** Declares the tests that every store must pass. */
export function describeStore(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`the ${name} store`, () => {
    let under: StoreUnderTest;
    beforeEach(async () => {
      under = await make();
    });
    afterEach(() => under.cleanUp());

    it('keeps a value until it expires', async () => {
      const { store, other } = under;
      await store.set('a', { x: [1] }, 60);
      expect(await other.get('a')).toEqual({ x: [1] });
      const life = await seenAlive(async (seconds) => {
        await store.set('short', true, seconds);
        return (await other.get('short')) === true;
      });
      await sleep(life + 0.05);
      expect(await store.get('short')).toBeUndefined();
      expect(await store.get('nothing')).toBeUndefined();
    });

    it('replaces a value', async () => {
      await under.store.set('a', 1, 60);
      await under.store.set('a', 2, 60);
      expect(await under.other.get('a')).toBe(2);
    });

    it('counts every concurrent increment and starts again after the expiry', async () => {
      const { store, other } = under;
      await Promise.all(
        Array.from({ length: 50 }, (_, n) => (n % 2 ? store : other).increment('n', 60)),
      );
      expect(await store.increment('n', 60)).toBe(51);
      const life = await seenAlive(async (seconds) => {
        const key = `for ${seconds} s`;
        expect(await store.increment(key, seconds)).toBe(1);
        return (await store.increment(key, 60)) === 2;
      });
      await sleep(life + 0.05);
      expect(await store.increment(`for ${life} s`, 60)).toBe(1);
    });

    it('replaces a value only if it is the expected one, for one of many callers', async () => {
      const { store, other } = under;
      expect(await store.replace('b', { n: 0 }, { n: 1 }, 60)).toBe(false);
      expect(await store.replace('b', undefined, { n: 0 }, 60)).toBe(true);
      expect(await other.replace('b', undefined, { n: 9 }, 60)).toBe(false);
      const tries = Array.from({ length: 20 }, (_, n) =>
        (n % 2 ? store : other).replace('b', { n: 0 }, { n: n + 1 }, 60),
      );
      expect((await Promise.all(tries)).filter(Boolean)).toHaveLength(1);
      expect(await store.get('b')).not.toEqual({ n: 0 });
      expect(await store.replace('short', undefined, 1, 0.3)).toBe(true);
      await sleep(0.35);
      expect(await other.replace('short', undefined, 2, 60)).toBe(true);
    });

    it('deletes a value that is replaced by undefined, without notifying a watcher', async () => {
      const { store, other } = under;
      await store.set('c:1', 1, 60);
      expect(await other.replace('c:1', 2, undefined, 60)).toBe(false);
      expect(await other.replace('c:1', 1, undefined, 60)).toBe(true);
      expect(await store.get('c:1')).toBeUndefined();
      expect(await store.replace('c:1', 1, undefined, 60)).toBe(false);
      expect(await store.replace('c:1', undefined, undefined, 60)).toBe(true);
      const controller = new AbortController();
      const seen: StoreEntry[][] = [];
      const watching = (async () => {
        for await (const entries of other.watch('c:', controller.signal)) {
          seen.push([...entries]);
          if (seen.length === 2) controller.abort();
        }
      })();
      await waitFor(() => seen.length === 1);
      expect(await store.replace('c:2', undefined, 1, 60)).toBe(true);
      expect(await store.replace('c:2', 1, undefined, 60)).toBe(true);
      await store.set('c:3', 1, 60);
      await watching;
      expect(seen[0]).toEqual([]);
      const notified = seen[1]?.map(({ key }) => key) ?? [];
      expect(['c:2', 'c:3']).toEqual(expect.arrayContaining(notified));
      expect(notified.length).toBeGreaterThan(0);
    });

    it('drops the entries of a log when they expire', async () => {
      const { store, other } = under;
      const life = await seenAlive(async (seconds) => {
        const log = `for ${seconds} s`;
        await store.append(log, { n: 1 }, seconds);
        await store.append(log, { n: 2 }, 60);
        return (await other.page(log)).items.length === 2;
      });
      await sleep(life + 0.05);
      await store.append(`for ${life} s`, { n: 3 }, 60);
      expect(await other.page(`for ${life} s`)).toEqual({
        items: [{ n: 3 }, { n: 2 }],
        nextCursor: null,
      });
    });

    it('reads a log newest first, page by page', async () => {
      for (let n = 1; n <= 5; n++) await under.store.append('audit', { n }, 60);
      await under.store.append('other', { n: 99 }, 60);
      const first = await under.other.page('audit', undefined, 2);
      expect(first.items).toEqual([{ n: 5 }, { n: 4 }]);
      const second = await under.other.page('audit', first.nextCursor ?? '', 3);
      expect(second).toEqual({ items: [{ n: 3 }, { n: 2 }, { n: 1 }], nextCursor: null });
      expect(await under.store.page('empty')).toEqual({ items: [], nextCursor: null });
    });

    it('sends a watcher the existing entries, and each change within a second', async () => {
      const { store, other } = under;
      await store.set('revoked:a', 1, 60);
      await store.set('else:b', 1, 60);
      const controller = new AbortController();
      const seen: StoreEntry[][] = [];
      const watching = (async () => {
        for await (const entries of other.watch('revoked:', controller.signal))
          seen.push([...entries]);
      })();
      await waitFor(() => seen.length === 1);
      await store.set('else:c', 1, 60);
      const changes: unknown[] = [];
      const took = await quickest(1000, async () => {
        changes.push([[`revoked:${changes.length}`, 2]]);
        await store.set(`revoked:${changes.length - 1}`, 2, 60);
        await waitFor(() => seen.length === changes.length + 1);
      });
      expect(took).toBeLessThan(1000);
      expect(seen.map((entries) => entries.map(({ key, value }) => [key, value]))).toEqual([
        [['revoked:a', 1]],
        ...changes,
      ]);
      expect(seen[1]?.[0]?.expiresAt).toBeGreaterThan(Date.now());
      controller.abort();
      await watching;
    });

    it('lists entries by prefix in batches, each key once, without expired ones', async () => {
      const { store, other } = under;
      const wanted = Array.from({ length: 25 }, (_, n) => `list:${String(n).padStart(3, '0')}`);
      for (const key of [...wanted].reverse()) await store.set(key, { key }, 60);
      for (const key of ['list', 'lisu', 'lis:1', 'list;1', 'other:1']) await store.set(key, 0, 60);
      for (const key of ['list:0005', 'list:010a', 'list:zzz']) await store.set(key, 0, 0.05);
      await sleep(0.1);
      const batches: (readonly StoreEntry[])[] = [];
      for (let after: string | undefined; ; after = batches.at(-1)?.at(-1)?.key) {
        const entries = await other.list('list:', after, 10);
        if (entries.length === 0) break;
        batches.push(entries);
      }
      expect(batches.flat().map(({ key, value }) => [key, value])).toEqual(
        wanted.map((key) => [key, { key }]),
      );
      for (const batch of batches) expect(batch.length).toBeLessThanOrEqual(10);
      expect(batches[0]?.[0]?.expiresAt).toBeGreaterThan(Date.now() + 50_000);
      expect(await store.list('nothing:', undefined, 10)).toEqual([]);
    });

    it('does not list a deleted entry until it is written again', async () => {
      const { store } = under;
      await store.set('gone:a', 1, 60);
      await store.set('gone:b', 2, 60);
      expect(await store.replace('gone:a', 1, undefined, 1)).toBe(true);
      expect((await store.list('gone:', undefined, 10)).map(({ key }) => key)).toEqual(['gone:b']);
      await store.set('gone:a', 3, 60);
      expect((await store.list('gone:', undefined, 10)).map(({ value }) => value)).toEqual([3, 2]);
    });

    it('sends only later changes to a watcher without a list', async () => {
      const { store, other } = under;
      await store.set('later:a', 1, 60);
      const changes = other
        .watch('later:', AbortSignal.timeout(5000), { list: false })
        [Symbol.asyncIterator]();
      expect((await changes.next()).value).toEqual([]);
      await store.set('later:b', 2, 60);
      expect(((await changes.next()).value as StoreEntry[]).map(({ key }) => key)).toEqual([
        'later:b',
      ]);
      await changes.return?.();
    });

    it('sends an empty list to a watcher at once if there are no entries', async () => {
      const controller = new AbortController();
      for await (const entries of under.store.watch('none:', controller.signal)) {
        expect(entries).toEqual([]);
        controller.abort();
      }
    });
  });
}
