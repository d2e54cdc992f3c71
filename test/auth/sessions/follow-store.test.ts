import { afterEach, describe, expect, it } from '@jest/globals';
import { followRevocations } from '../../../src/auth/sessions/revocations.js';
import { limitedStore } from '../../../src/auth/time-limit.js';
import type { TaskflowError } from '../../../src/errors.js';
import { memoryStore } from '../../../src/store/memory-store.js';
import type { SharedStore } from '../../../src/store/shared-store.js';
import { closeAfterEach } from '../../helpers/closing.js';
import { quickest } from '../../helpers/quickest.js';
import { everyStore } from '../../helpers/stores.js';
import { promptly, sleep, waitFor } from '../../helpers/wait.js';

const keep = closeAfterEach();
const idOf = (n: number): string => `session-${String(n).padStart(8, '0')}`;
const sessionOf = (id: string) => ({
  id,
  strategy: 'team',
  username: 'alice',
  authenticatedAt: new Date(),
});
const follow = (store: SharedStore) =>
  followRevocations({
    store: limitedStore(store),
    ...{ prefix: 'revoked:', tokenExpiry: 3600, now: Date.now },
  });

async function fill(store: SharedStore, count: number): Promise<void> {
  for (let n = 0; n < count; n += 500) {
    const some = Array.from(
      { length: Math.min(500, count - n) },
      (_, i) => `revoked:id:${idOf(n + i)}`,
    );
    // On a busy machine, the store may answer too late. The write is then repeated.
    await waitFor(() =>
      Promise.all(some.map((key) => store.set(key, 0, 3600))).catch(() => undefined),
    );
  }
}

/** Wraps a store to record the calls of `list` and to let them fail. */
function withList(
  store: SharedStore,
  list: (call: number) => Promise<void>,
): SharedStore & { after: (string | undefined)[] } {
  const after: (string | undefined)[] = [];
  return {
    ...store,
    after,
    async list(prefix, from, limit) {
      after.push(from);
      await list(after.length);
      return store.list(prefix, from, limit);
    },
  };
}

describe.each(everyStore)(
  'a process that starts with many revocations in the %s store',
  (_name, openStore) => {
    it('reads all of them, and new ones, without blocking the event loop', async () => {
      const { one, two } = keep(await openStore());
      const count = 5000;
      await fill(one, count);
      /** Returns the longest pause of the event loop during a start, in milliseconds. */
      const start = async (added: string): Promise<number> => {
        const revocations = follow(two);
        let [longest, last] = [0, performance.now()];
        const timer = setInterval(() => {
          longest = Math.max(longest, performance.now() - last);
          last = performance.now();
        }, 1);
        const ready = revocations.ready();
        const during = one.set(`revoked:id:${added}`, 0, 3600);
        await ready;
        clearInterval(timer);
        await during;
        for (let n = 0; n < count; n++) expect(revocations.has(sessionOf(idOf(n)), 0)).toBe(true);
        expect(revocations.has(sessionOf('another-0123456789'), 0)).toBe(false);
        await waitFor(() => revocations.has(sessionOf(added), 0), promptly);
        return longest;
      };
      // Other programs on the machine also cause pauses and late answers of the store, but not in
      // every try.
      let least = Number.POSITIVE_INFINITY;
      for (let n = 0; n < 8 && least >= 250; n++) {
        const longest = await start(idOf(99_000 + n)).catch((error: TaskflowError) => {
          if (error.code !== 'STORE_UNAVAILABLE') throw error;
          return least;
        });
        least = Math.min(least, longest);
      }
      expect(least).toBeLessThan(250);
    });
  },
);

describe('a long list of revocations', () => {
  let loaded: SharedStore;
  afterEach(() => {
    loaded = memoryStore();
  });

  it('may take longer than the time limit of the store, but each batch may not', async () => {
    loaded = memoryStore();
    await fill(loaded, 5000);
    const store = withList(loaded, () => sleep(0.3));
    const revocations = follow(store);
    await revocations.ready();
    expect(revocations.has(sessionOf(idOf(4999)), 0)).toBe(true);
  });

  it('resumes after a failed batch with the next request', async () => {
    loaded = memoryStore();
    await fill(loaded, 5000);
    const store = withList(loaded, async (call) => {
      if (call === 3) throw new Error('down');
    });
    const revocations = follow(store);
    await expect(revocations.ready()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(() => revocations.has(sessionOf(idOf(0)), 0)).toThrow(
      expect.objectContaining({ code: 'STORE_UNAVAILABLE' }),
    );
    await revocations.ready();
    expect(store.after.slice(0, 4)).toEqual([
      undefined,
      `revoked:id:${idOf(999)}`,
      `revoked:id:${idOf(1999)}`,
      `revoked:id:${idOf(1999)}`,
    ]);
    expect(revocations.has(sessionOf(idOf(4999)), 0)).toBe(true);
  });

  it('rejects within two seconds if a batch hangs', async () => {
    const took = await quickest(2000, async () => {
      const revocations = follow(withList(memoryStore(), () => new Promise(() => {})));
      await expect(revocations.ready()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    });
    expect(took).toBeLessThan(2000);
  });

  it('is read again from the start if the subscription to changes ends', async () => {
    loaded = memoryStore();
    await fill(loaded, 3000);
    let breakOff = (): void => {};
    const inner = withList(loaded, async (call) => {
      if (call !== 2) return;
      await loaded.set(`revoked:id:${idOf(0)}-late`, 0, 3600);
      breakOff();
      await sleep(0.01);
    });
    let watches = 0;
    const store: SharedStore = {
      ...inner,
      async *watch(prefix, signal, options) {
        watches += 1;
        if (watches > 1) {
          yield* loaded.watch(prefix, signal, options);
          return;
        }
        yield [];
        await new Promise<void>((resolve) => {
          breakOff = resolve;
        });
        throw new Error('the connection is gone');
      },
    };
    const revocations = follow(store);
    await expect(revocations.ready()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await revocations.ready();
    expect(revocations.has(sessionOf(`${idOf(0)}-late`), 0)).toBe(true);
    expect(inner.after.filter((after) => after === undefined)).toHaveLength(2);
  });

  it('is no longer used after the subscription to changes has ended', async () => {
    let breakOff = (): void => {};
    const store: SharedStore = {
      ...memoryStore(),
      async *watch() {
        yield [];
        await new Promise<void>((resolve) => {
          breakOff = resolve;
        });
      },
    };
    const revocations = follow(store);
    await revocations.ready();
    expect(revocations.has(sessionOf(idOf(1)), 0)).toBe(false);
    breakOff();
    await waitFor(() => revocations.ready() !== undefined, promptly);
  });
});
