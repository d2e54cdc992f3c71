import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { redisStore } from '../../../../src/engines/bullmq/index.js';
import { describeStore } from '../../../contract/store.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { block, promptly, sleep, waitFor } from '../../../helpers/wait.js';

let redis: RedisServer;
let stores = 0;

(hasRedis ? describe : describe.skip)('redisStore', () => {
  beforeAll(async () => {
    redis = await RedisServer.start();
  });
  afterAll(() => redis.remove());

  describeStore('redis', async () => {
    const prefix = `test-${stores++}`;
    const [store, other] = [
      redisStore(redis.connection, { prefix, logger: false }),
      redisStore(redis.connection, { prefix, logger: false }),
    ];
    return {
      store,
      other,
      cleanUp: async () => {
        await Promise.all([store.close(), other.close()]);
      },
    };
  });

  it('leaves no key of expired entries', async () => {
    const client = new Redis(redis.connection);
    const store = redisStore(client, { prefix: 'brief', logger: false });
    for (let n = 0; n < 25; n++) await store.set(`k${n}`, n, 0.05);
    await sleep(0.1);
    for (let n = 0; n < 3; n++) await store.set('last', n, 60);
    expect(await client.zrange('{brief}:index', '0', '-1')).toEqual(['last']);
    expect(await client.keys('{brief}:value:*')).toEqual(['{brief}:value:last']);
    await store.close();
    client.disconnect();
  });

  it('ends a watch if its changes were trimmed, and starts the next one in full', async () => {
    const client = new Redis(redis.connection);
    const store = redisStore(redis.connection, { prefix: 'cut', logger: false });
    await store.set('a', 1, 60);
    const failed = (async () => {
      for await (const _ of store.watch('', new AbortController().signal));
    })();
    failed.catch(() => {});
    await sleep(0.2);
    await client
      .multi()
      .incr('{cut}:serial')
      .xadd('{cut}:changes', '*', 'n', '9', 'key', 'a', 'value', '1', 'expiresAt', '0')
      .exec();
    await expect(failed).rejects.toThrow('cut off');
    for await (const entries of store.watch('', AbortSignal.timeout(promptly * 1000))) {
      expect(entries).toMatchObject([{ key: 'a', value: 1 }]);
      break;
    }
    await store.close();
    client.disconnect();
  });

  it('fails soon while Redis is unreachable, and keeps its entries', async () => {
    const own = await RedisServer.start('--appendfsync', 'always');
    const store = redisStore(own.connection, { logger: false });
    await store.set('kept', { x: 1 }, 60);
    let watchEnded = false;
    const watching = (async () => {
      for await (const _ of store.watch('', new AbortController().signal));
    })().catch(() => {
      watchEnded = true;
    });
    await sleep(0.1);
    await own.stop('SIGKILL');
    await waitFor(() => watchEnded);
    await watching;
    const began = Date.now();
    await Promise.all(
      [
        store.get('kept'),
        store.set('a', 1, 1),
        store.increment('n', 1),
        store.append('log', 1, 1),
        store.page('log'),
      ].map((asked) => expect(asked).rejects.toThrow()),
    );
    expect(Date.now() - began).toBeLessThan(promptly * 1000);
    await own.start();
    await waitFor(() => store.get('kept').then(Boolean, () => false));
    expect(await store.get('kept')).toEqual({ x: 1 });
    await store.close();
    await own.remove();
  });

  it('waits longer for the first connection of a process', async () => {
    const own = await RedisServer.start();
    const store = redisStore(own.connection, { logger: false });
    own.signal('SIGSTOP');
    const read = store.get('a');
    // By then, the caller of a write has got an error, so the write must not happen later.
    const written = store.set('a', 1, 60);
    await Promise.all([
      expect(written).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', maybeDone: false }),
      sleep(1.2).then(() => own.signal('SIGCONT')),
    ]);
    expect(await read).toBeUndefined();
    await store.set('b', 1, 60);
    expect([await store.get('a'), await store.get('b')]).toEqual([undefined, 1]);
    await store.close();
    await own.remove();
  });

  it('reads an answer that arrived while the process was blocked', async () => {
    const store = redisStore(redis.connection, { prefix: 'blocked', logger: false });
    await store.set('a', 1, 60);
    const value = store.get('a');
    await new Promise(setImmediate);
    block(1500);
    expect(await value).toBe(1);
    await store.close();
  });

  it('reports a wrong password without showing it', async () => {
    const own = await RedisServer.start('--requirepass', 'right');
    const { logger, lines, text } = recordingLogger();
    const store = redisStore({ ...own.connection, password: 'wr0ng-one' }, { logger });
    const error: Error = await store.get('a').then(
      () => new Error('let in'),
      (reason: Error) => reason,
    );
    expect(error.message).toMatch(/WRONGPASS|NOAUTH/);
    expect(error.message).not.toContain('wr0ng-one');
    await store.set('a', 1, 60).catch(() => undefined);
    expect(lines.filter(({ level }) => Number(level) >= 40)).toHaveLength(1);
    expect(text()).not.toContain('wr0ng-one');
    await store.close();
    await own.remove();
  });

  it('warns if Redis may evict keys', async () => {
    const own = await RedisServer.start('--maxmemory-policy', 'allkeys-lru');
    const { logger, lines } = recordingLogger();
    const store = redisStore(own.connection, { logger });
    await store.set('a', 1, 60);
    await waitFor(() => lines.some(({ msg }) => String(msg).includes('noeviction')));
    await store.close();
    await own.remove();
  });

  it('rejects a read-only replica', async () => {
    const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(redis.port));
    const store = redisStore(replica.connection, { logger: false });
    await expect(store.set('a', 1, 60)).rejects.toThrow('READONLY');
    await store.close();
    await replica.remove();
  });
});
