import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it, jest } from '@jest/globals';
import {
  type HashLimits,
  HashQueueFull,
  limitHashes,
  queueHash,
} from '../../../src/auth/passwords/hash-queue.js';
import type { AuthContext } from '../../../src/auth/strategies/strategy.js';
import { sleep } from '../../helpers/wait.js';

const MiB = 2 ** 20;

/** Makes hashes that the test finishes, and counts how many run at once. */
function gatedHashes() {
  const open: (() => void)[] = [];
  let running = 0;
  let most = 0;
  return {
    most: () => most,
    running: () => running,
    compute: () =>
      new Promise<number>((resolve) => {
        running += 1;
        most = Math.max(most, running);
        open.push(() => {
          running -= 1;
          resolve(1);
        });
      }),
    async finish(): Promise<void> {
      while (open.length > 0) {
        open.shift()?.();
        await sleep(0);
      }
    },
  };
}

/** Queues a hash of a login attempt. It takes so much memory that only one runs at a time. */
function hashOf(attempt: Partial<HashLimits>, compute: () => Promise<number>): Promise<number> {
  const context: AuthContext = { signal: new AbortController().signal, ip: '', requestId: '' };
  limitHashes(context, { address: '', queue: 3, trusted: false, ...attempt });
  return (async () => queueHash(100 * MiB, compute, context).result)();
}

describe('the queue of password hashes', () => {
  it('runs two hashes at once on two cores, but never more than the memory allows', async () => {
    const hashes = gatedHashes();
    const results = Array.from(
      { length: 6 },
      () => queueHash(32 * MiB, hashes.compute, undefined).result,
    );
    await sleep(0.01);
    expect(hashes.running()).toBeGreaterThanOrEqual(1);
    await hashes.finish();
    await Promise.all(results);
    expect(hashes.most()).toBeLessThanOrEqual(2);

    const heavy = gatedHashes();
    const both = [
      queueHash(100 * MiB, heavy.compute, undefined).result,
      queueHash(100 * MiB, heavy.compute, undefined).result,
    ];
    await sleep(0.01);
    expect(heavy.running()).toBe(1);
    await heavy.finish();
    await Promise.all(both);
  });

  it('rejects a login immediately if too many hashes wait, with a retry time', async () => {
    const hashes = gatedHashes();
    const ask = (n: number) => hashOf({ address: `10.0.0.${n}` }, hashes.compute);
    const accepted = [1, 2, 3, 4].map(ask);
    await expect(ask(5)).rejects.toBeInstanceOf(HashQueueFull);
    await expect(ask(6)).rejects.toMatchObject({ retryAfter: expect.any(Number) });
    await hashes.finish();
    expect(await Promise.all(accepted)).toEqual([1, 1, 1, 1]);
  });

  it('queues one hash per network and holds back its others until that one starts', async () => {
    const hashes = gatedHashes();
    const order: string[] = [];
    const ask = (address: string, name: string) =>
      hashOf({ address }, hashes.compute).then(() => order.push(name));
    const accepted = [1, 2, 3, 4, 5].map((n) => ask('10.0.0.1', `first ${n}`));
    await expect(ask('10.0.0.1', 'first 6')).rejects.toBeInstanceOf(HashQueueFull);
    const other = ask('10.0.0.2', 'second');
    await hashes.finish();
    await Promise.all([...accepted, other]);
    expect(order).toEqual(['first 1', 'first 2', 'second', 'first 3', 'first 4', 'first 5']);
  });

  it('rejects a hash that waits behind another of its network for five seconds', async () => {
    jest.useFakeTimers({
      doNotFake: ['nextTick', 'queueMicrotask', 'performance', 'setImmediate'],
    });
    const hashes = gatedHashes();
    const [running, waiting, behind] = [1, 2, 3].map(() =>
      hashOf({ address: '10.0.0.1' }, hashes.compute),
    );
    const refused = expect(behind).rejects.toBeInstanceOf(HashQueueFull);
    await jest.advanceTimersByTimeAsync(5000);
    jest.useRealTimers();
    await refused;
    await hashes.finish();
    expect(await Promise.all([running, waiting])).toEqual([1, 1]);
  });

  it('completes every hash of an attempt that has already computed one', async () => {
    const hashes = gatedHashes();
    const context: AuthContext = { signal: new AbortController().signal, ip: '', requestId: '' };
    limitHashes(context, { address: '10.0.0.9', queue: 3, trusted: false });
    const first = queueHash(100 * MiB, hashes.compute, context).result;
    const others = [1, 2, 3].map((n) => hashOf({ address: `10.0.0.${n}` }, hashes.compute));
    const second = queueHash(100 * MiB, hashes.compute, context).result;
    await expect(hashOf({ address: '10.0.0.4' }, hashes.compute)).rejects.toBeInstanceOf(
      HashQueueFull,
    );
    await hashes.finish();
    expect(await Promise.all([first, second, ...others])).toEqual([1, 1, 1, 1, 1]);
  });

  it('prefers a familiar browser, even if the queue is full of strangers', async () => {
    const hashes = gatedHashes();
    const order: string[] = [];
    const ask = (name: string, trusted: boolean) =>
      hashOf({ address: name, trusted }, hashes.compute).then(() => order.push(name));
    const strangers = ['running', 'first', 'second', 'third'].map((name) => ask(name, false));
    await expect(ask('fourth', false)).rejects.toBeInstanceOf(HashQueueFull);
    const owner = ask('owner', true);
    await hashes.finish();
    await Promise.all([...strangers, owner]);
    expect(order).toEqual(['running', 'owner', 'first', 'second', 'third']);
  });

  it('continues after a failed hash', async () => {
    await expect(
      queueHash(MiB, () => Promise.reject(new Error('broken')), undefined).result,
    ).rejects.toThrow('broken');
    expect(await queueHash(MiB, async () => 7, undefined).result).toBe(7);
  });

  it('runs each hash in the context of the attempt that queued it', async () => {
    const requests = new AsyncLocalStorage<number>();
    const seen: unknown[] = [];
    const compute = async (): Promise<number> => {
      await sleep(0);
      return seen.push(requests.getStore());
    };
    await Promise.all(
      [1, 2, 3].map((n) => requests.run(n, () => queueHash(100 * MiB, compute, undefined).result)),
    );
    expect(seen).toEqual([1, 2, 3]);
  });
});
