import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Cluster, Redis } from 'ioredis';
import { type BullmqEngineOptions, bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { redisStore } from '../../../src/engines/bullmq/store/redis-store.js';
import { TaskManager } from '../../../src/manager.js';
import { startProcess } from '../../helpers/process.js';
import { hasRedis, RedisServer } from '../../helpers/redis.js';
import { sleep } from '../../helpers/wait.js';

const url = 'redis://127.0.0.1:1';
const secret = 'hunter2-hunter2';

/** Passes what the types would refuse: many apps are JavaScript. */
function engineOf(options: object): unknown {
  return bullmqEngine(options as BullmqEngineOptions);
}

function thrown(make: () => unknown): Error & { code?: string } {
  try {
    make();
  } catch (error) {
    return error as Error & { code?: string };
  }
  throw new Error('nothing was thrown');
}

describe('the options of bullmqEngine', () => {
  it.each<[string, object, string, RegExp]>([
    ['no connection', {}, 'TypeError', /^connection/],
    ['a number as connection', { connection: 6379 }, 'TypeError', /^connection/],
    ['null as connection', { connection: null }, 'TypeError', /^connection/],
    ['a list as connection', { connection: [url] }, 'TypeError', /^connection/],
    [
      'a promise as connection',
      { connection: Promise.resolve(url) },
      'TypeError',
      /^connection.*promise/,
    ],
    ['a URL object as connection', { connection: new URL(url) }, 'TypeError', /^connection/],
    ['a function as connection', { connection: () => url }, 'TypeError', /^connection/],
    [
      'an http URL',
      { connection: `http://:${secret}@x` },
      'RangeError',
      /^connection.*rediss:\/\//,
    ],
    [
      'a host and port without a scheme',
      { connection: '127.0.0.1:6379' },
      'RangeError',
      /^connection.*redis:\/\//,
    ],
    [
      'a host without a scheme',
      { connection: 'localhost:6379' },
      'RangeError',
      /^connection.*redis:\/\//,
    ],
    [
      'a scheme without slashes',
      { connection: 'redis:6379' },
      'RangeError',
      /^connection.*redis:\/\//,
    ],
    ['a URL without a host', { connection: 'redis:///0' }, 'RangeError', /^connection.*host/],
    [
      'a misspelt option in a URL',
      { connection: `redis://:${secret}@x?familly=6` },
      'TypeError',
      /^the query of connection.*"family"/,
    ],
    ['a connection without a host', { connection: {} }, 'TypeError', /^connection.*host/],
    ['a port alone', { connection: { port: 6379 } }, 'TypeError', /^connection.*host/],
    [
      'an undefined host',
      { connection: { host: undefined, port: 6379 } },
      'TypeError',
      /^connection\.host.*undefined/,
    ],
    [
      'a misspelt host',
      { connection: { hostname: 'x' } },
      'TypeError',
      /^connection.*"hostname".*"host"/,
    ],
    [
      'a misspelt option',
      { connection: { host: 'x', readonly: true } },
      'TypeError',
      /^connection.*"readonly".*"readOnly"/,
    ],
    [
      'ssl for tls',
      { connection: { host: 'x', ssl: true } },
      'TypeError',
      /^connection.*"ssl".*"tls"/,
    ],
    [
      'a URL as host',
      { connection: { host: `redis://:${secret}@x` } },
      'RangeError',
      /^connection\.host.*url/,
    ],
    [
      'a host with a port',
      { connection: { host: 'x:6379' } },
      'RangeError',
      /^connection\.host.*port/,
    ],
    [
      'a number as password',
      { connection: { host: 'x', password: 12345 } },
      'TypeError',
      /^connection\.password is a number/,
    ],
    ['a list as tls', { connection: { host: 'x', tls: [] } }, 'TypeError', /^connection\.tls/],
    [
      'an empty list of sentinels',
      { connection: { sentinels: [], name: 'x' } },
      'TypeError',
      /^connection\.sentinels/,
    ],
    [
      'sentinels without a name',
      { connection: { sentinels: [{ host: 'x' }] } },
      'TypeError',
      /^connection\.name/,
    ],
    [
      'an unknown protocol',
      { connection: { host: 'x', protocol: 4 } },
      'TypeError',
      /^connection\.protocol/,
    ],
    ['an empty URL', { connection: '' }, 'RangeError', /^connection/],
    [
      'a URL with an invalid password encoding',
      { connection: `redis://:${secret}%@x` },
      'RangeError',
      /^connection/,
    ],
    [
      'an invalid URL among the options',
      { connection: { url: `http://:${secret}@x` } },
      'RangeError',
      /^connection\.url/,
    ],
    ['a number as host', { connection: { host: 127 } }, 'TypeError', /^connection\.host/],
    ['an empty host', { connection: { host: '' } }, 'TypeError', /^connection\.host/],
    [
      'a port out of range',
      { connection: { host: 'x', port: 70_000 } },
      'RangeError',
      /^connection\.port.*65,535/,
    ],
    [
      'NaN as port',
      { connection: { host: 'x', port: Number.NaN } },
      'TypeError',
      /^connection\.port/,
    ],
    [
      'a port that is not a number',
      { connection: { host: 'x', port: 'redis' } },
      'TypeError',
      /^connection\.port.*"redis"/,
    ],
    [
      'a client of another library',
      { connection: { duplicate: () => undefined, sendCommand: () => undefined } },
      'TypeError',
      /^connection.*another/,
    ],
    ['a keyPrefix', { connection: { host: 'x', keyPrefix: 'app:' } }, 'RangeError', /keyPrefix/],
    ['an empty prefix', { connection: url, prefix: '' }, 'RangeError', /^prefix.*1 to 100/],
    [
      'a long prefix',
      { connection: url, prefix: 'x'.repeat(101) },
      'RangeError',
      /^prefix.*100 characters.*101/,
    ],
    [
      'a prefix with a colon',
      { connection: url, prefix: 'a:b' },
      'RangeError',
      /^prefix.*1 to 100/,
    ],
    [
      'a lock shorter than a reconnect',
      { connection: url, lockDuration: 4.9 },
      'RangeError',
      /^lockDuration.*5 to 3,600/,
    ],
    [
      'a lock of a day',
      { connection: url, lockDuration: 86_400 },
      'RangeError',
      /^lockDuration.*5 to 3,600/,
    ],
    [
      'NaN as lock duration',
      { connection: url, lockDuration: Number.NaN },
      'TypeError',
      /^lockDuration/,
    ],
    [
      'an infinite lock',
      { connection: url, lockDuration: Number.POSITIVE_INFINITY },
      'RangeError',
      /^lockDuration/,
    ],
    [
      'a check every 10 ms',
      { connection: url, stalledInterval: 0.01 },
      'RangeError',
      /^stalledInterval.*1 to 3,600/,
    ],
    [
      'a retention of 0 days',
      { connection: url, retentionDays: 0 },
      'RangeError',
      /^retentionDays/,
    ],
    [
      'an infinite retention',
      { connection: url, retentionDays: Number.POSITIVE_INFINITY },
      'RangeError',
      /^retentionDays.*36,500/,
    ],
    [
      'a fraction as retention count',
      { connection: url, retentionCount: 0.5 },
      'RangeError',
      /^retentionCount/,
    ],
    [
      'a retention count over the limit',
      { connection: url, retentionCount: 1e9 },
      'RangeError',
      /^retentionCount.*10,000,000/,
    ],
  ])('reject %s immediately', (_name, options, kind, message) => {
    const error = thrown(() => engineOf(options));
    expect({ kind: error.constructor.name, code: error.code }).toEqual({
      kind,
      code: 'INVALID_INPUT',
    });
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain(secret);
  });

  it.each([
    { host: 'x', db: -1 },
    { host: 'x', db: 1.5 },
    'redis://127.0.0.1:6379/abc',
    { url: undefined },
  ])('reject the connection %j', (connection) => {
    expect(() => engineOf({ connection })).toThrow(/connection\.(db|url)/);
  });

  it('reject the same connections as redisStore', () => {
    for (const connection of [{}, { hostname: 'x' }, 'localhost:6379'])
      expect(thrown(() => redisStore(connection as never))).toMatchObject({
        code: 'INVALID_INPUT',
      });
  });

  it('accept every option of ioredis', () => {
    const client = new Redis({ host: '127.0.0.1', port: 1, lazyConnect: true });
    expect(() =>
      engineOf({ connection: { ...client.options, tls: { ca: 'x' }, commandTimeout: 5000 } }),
    ).not.toThrow();
    client.disconnect();
  });

  it('reject the client of a Redis Cluster', () => {
    const cluster = new Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true });
    expect(() => engineOf({ connection: cluster })).toThrow(/Cluster/);
    cluster.disconnect();
  });

  it.each([
    'redis://127.0.0.1:6379/2',
    'REDIS://127.0.0.1',
    'rediss://:p%40ss@redis.example.com:6380',
  ])('accept the URL %s', (connection) => {
    expect(() => engineOf({ connection })).not.toThrow();
    expect(() => engineOf({ connection: { url: connection } })).not.toThrow();
  });
});

describe('an unused engine', () => {
  let server: Server;
  let connections: number;
  let connection: { host: string; port: number };

  beforeEach(async () => {
    connections = 0;
    server = createServer((socket) => {
      connections += 1;
      socket.destroy();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    connection = { host: '127.0.0.1', port: (server.address() as { port: number }).port };
  });
  afterEach(async () => {
    server.close();
    await once(server, 'close');
  });

  it('makes no connection, and neither does its store or redisStore', async () => {
    const client = new Redis({ ...connection, lazyConnect: true });
    const query = 'lazyConnect=&enableOfflineQueue=true&maxRetriesPerRequest=9';
    const eager = `redis://127.0.0.1:${connection.port}?${query}`;
    const engines = [connection, client, eager, { url: eager }].map((each) =>
      bullmqEngine({ connection: each, logger: false }),
    );
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection, logger: false }),
      logger: false,
    });
    tasks.task('work', () => 1);
    tasks.schedule('often', () => 1, { every: 1 });
    const store = redisStore(connection, { logger: false });
    expect(tasks.store).toBeDefined();
    await sleep(0.3);
    expect(connections).toBe(0);
    await expect(store.get('a')).rejects.toThrow(
      expect.objectContaining({ code: 'STORE_UNAVAILABLE' }),
    );
    expect(connections).toBeGreaterThan(0);
    await Promise.all([
      store.close(),
      tasks.stop(),
      ...engines.map((engine) => engine.stop({ timeout: 1 })),
    ]);
    client.disconnect();
  });

  it('lets its process exit', async () => {
    const script = `
      import { bullmqEngine, redisStore } from 'koa-taskflow/bullmq';
      import { TaskManager } from 'koa-taskflow';
      const connection = ${JSON.stringify(connection)};
      const tasks = new TaskManager({ engine: bullmqEngine({ connection }) });
      tasks.task('work', () => 1);
      redisStore(connection);
      console.log('made');
    `;
    const child = startProcess(process.execPath, ['--input-type=module', '--eval', script]);
    const kill = setTimeout(() => child.process.kill('SIGKILL'), 20_000);
    const end = await child.ended;
    clearTimeout(kill);
    expect({ end, lines: child.lines }).toEqual({ end: 0, lines: ['made'] });
  });
});

(hasRedis ? describe : describe.skip)('an engine that is used before it is started', () => {
  it('uses no other database if Redis lacks the requested one', async () => {
    const redis = await RedisServer.start();
    const managerOf = (db: number) =>
      new TaskManager({
        engine: bullmqEngine({
          connection: `redis://127.0.0.1:${redis.port}?db=${db}`,
          logger: false,
        }),
        logger: false,
      });
    const [wrong, right] = [managerOf(99), managerOf(3)];
    await expect(wrong.define('work').enqueue()).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
    });
    await expect(wrong.start({ run: false })).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    await expect(wrong.store.set('key', 1, 60)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
    });
    await right.define('work').enqueue();
    const client = new Redis(redis.connection);
    expect(await client.dbsize()).toBe(0);
    await client.select(3);
    expect(await client.dbsize()).toBeGreaterThan(0);
    client.disconnect();
    await Promise.all([wrong.stop(), right.stop()]);
    await redis.remove();
  });

  it('connects and stops without the time limits of the connection', async () => {
    const redis = await RedisServer.start();
    const connection = { ...redis.connection, commandTimeout: 0, socketTimeout: 1 };
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection, logger: false }),
      logger: false,
    });
    const id = await tasks.define('work').enqueue();
    expect((await tasks.get(id))?.status).toBe('pending');
    expect(
      (await tasks.control({ action: 'cancel', ids: [id] }, { actor: 'test' })).results[0]?.ok,
    ).toBe(true);
    await tasks.stop();
    await redis.remove();
  });

  it('recovers after its first attempt to connect failed', async () => {
    const redis = await RedisServer.start();
    await redis.stop();
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: redis.connection, logger: false }),
      logger: false,
    });
    const work = tasks.define('work');
    await expect(work.enqueue()).rejects.toThrow(
      expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' }),
    );
    await redis.start();
    const id = await enqueued(work);
    expect((await tasks.get(id))?.status).toBe('pending');
    await tasks.stop();
    await redis.remove();
  });
});

async function enqueued(work: { enqueue(): Promise<string> }): Promise<string> {
  for (let n = 0; ; n++) {
    try {
      return await work.enqueue();
    } catch (error) {
      if (n > 20) throw error;
    }
  }
}
