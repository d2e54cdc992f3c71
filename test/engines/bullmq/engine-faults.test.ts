import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { Compactor } from '../../../src/engines/bullmq/compactor.js';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { journalKeys, readState } from '../../../src/engines/bullmq/journal-log.js';
import { connectRedis, whenReady } from '../../../src/engines/bullmq/redis-connection.js';
import { TaskManager } from '../../../src/manager.js';
import { recordingLogger } from '../../helpers/logs.js';
import { startProcess } from '../../helpers/process.js';
import { hasRedis, RedisServer, startSentinel } from '../../helpers/redis.js';
import { sleep, waitFor } from '../../helpers/wait.js';

const unavailable = expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' });
const keys = journalKeys('koa-taskflow');

(hasRedis ? describe : describe.skip)('the bullmq engine', () => {
  let redis: RedisServer;
  let client: Redis;
  let managers: TaskManager[];

  const begin = async (...options: string[]): Promise<void> => {
    redis = await RedisServer.start(...options);
    client = new Redis({ ...redis.connection, lazyConnect: true, retryStrategy: () => 100 });
    client.on('error', () => {});
  };
  beforeEach(() => {
    managers = [];
  });
  afterEach(async () => {
    await Promise.all(managers.map((each) => each.stop({ timeout: 0.1 })));
    client.disconnect();
    await redis.remove();
  });

  function manager({ logger = false, ...of }: Partial<Parameters<typeof bullmqEngine>[0]> = {}): TaskManager {
    const made = new TaskManager({ engine: bullmqEngine({ connection: redis.connection, logger, ...of }), logger });
    managers.push(made);
    return made;
  }
  /** While it is away an answer is an error. */
  const whenBack = (look: () => Promise<boolean>) => waitFor(() => look().catch(() => false));
  const succeeded = (tasks: TaskManager, n: number) => whenBack(async () => (await tasks.aggregate('pulse')).counts.success === n);

  it('starts while its Redis is down, says so, and runs what was defined once it is there', async () => {
    await begin();
    await redis.stop();
    const { logger, lines } = recordingLogger();
    const tasks = manager({ logger });
    const noop = tasks.task('noop', () => 1);
    tasks.schedule('often', noop, { every: 1 });
    await tasks.start();
    await expect(tasks.find({ limit: 1 })).rejects.toThrow(unavailable);
    await expect(tasks.describe()).rejects.toThrow(unavailable);
    await expect(noop.enqueue()).rejects.toThrow(/nothing was written/);
    await sleep(1.5);
    await redis.start();
    await waitFor(() => noop.enqueue().catch(() => undefined));
    await whenBack(async () => (await tasks.aggregate('pulse')).counts.success >= 2);
    expect((await tasks.aggregate('workers')).map(({ pid }) => pid)).toEqual([process.pid]);
    expect((await tasks.describe()).schedules).toMatchObject([{ name: 'often' }]);
    expect(lines.map(({ msg }) => msg).filter((text) => /tasks/.test(String(text)))).toEqual([
      'the Redis of the tasks cannot be used',
      'the Redis of the tasks can be used again',
    ]);
  });

  it('keeps the password of its Redis out of every error and line of the log', async () => {
    await begin('--requirepass', 'unspeakable-1');
    const { logger, text } = recordingLogger();
    const tasks = manager({ logger, connection: { ...redis.connection, password: 'unspeakable-2' } });
    await tasks.start();
    const error = await tasks.describe().catch((thrown: unknown) => thrown);
    expect(error).toEqual(unavailable);
    expect(JSON.stringify([error, (error as Error).message, (error as Error).stack]) + text()).not.toMatch(/unspeakable/);
    expect(text()).toMatch(/WRONGPASS/);
    const right = manager({ connection: { ...redis.connection, password: 'unspeakable-1' } });
    await right.start();
    expect((await right.describe()).engine).toBe('bullmq');
  });

  it('says that a replica which may not be written cannot be used, and loses nothing by it', async () => {
    await begin();
    const tasks = manager();
    const noop = tasks.define('noop');
    const id = await noop.enqueue();
    await client.connect();
    await client.replicaof('127.0.0.1', 1);
    await waitFor(() =>
      noop.enqueue().then(
        () => false,
        (error: { code: string }) => error.code === 'ENGINE_UNAVAILABLE',
      ),
    );
    await client.replicaof('NO', 'ONE');
    await waitFor(() => noop.enqueue().catch(() => undefined));
    await whenBack(async () => (await tasks.get(id))?.status === 'pending');
  });

  it('refuses what does not fit into a Redis that is full, and goes on when there is room', async () => {
    await begin();
    const tasks = manager();
    const note = tasks.define<[text: string]>('note');
    await note.enqueue('x');
    await client.connect();
    await client.config('SET', 'maxmemory', '1mb');
    await waitFor(() =>
      note.enqueue('y').then(
        () => false,
        (error: Error) => /nothing was written/.test(error.message),
      ),
    );
    await client.config('SET', 'maxmemory', '0');
    await waitFor(() => note.enqueue('z').catch(() => undefined));
    await whenBack(async () => (await tasks.find({ limit: 1 })).total >= 2);
  });

  it('lets a process end that stops it without having used it', async () => {
    await begin();
    const script = `import { TaskManager } from 'koa-taskflow';
      import { bullmqEngine } from 'koa-taskflow/bullmq';
      await new TaskManager({ engine: bullmqEngine({ connection: 'redis://127.0.0.1:${redis.port}', logger: false }) }).stop();`;
    const child = startProcess(process.execPath, ['--input-type=module', '-e', script]);
    expect(await Promise.race([child.ended, sleep(8).then(() => 'still there')])).toBe(0);
  });

  it('warns of a Redis that may drop what it was told', async () => {
    await begin('--maxmemory-policy', 'allkeys-lru');
    const { logger, lines } = recordingLogger();
    await manager({ logger }).start();
    await waitFor(() => lines.some(({ msg, policy }) => policy === 'allkeys-lru' && /noeviction/.test(String(msg))));
  });

  it('goes on by itself at the replica that a Sentinel puts in the place of a Redis that died', async () => {
    await begin('--repl-diskless-sync-delay', '0');
    const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(redis.port));
    const sentinel = await startSentinel(redis);
    const watcher = new Redis({ host: '127.0.0.1', port: sentinel.connection.sentinels[0]?.port ?? 0, lazyConnect: true });
    try {
      // Until it knows the replica there is nothing to promote.
      await waitFor(async () => ((await watcher.call('SENTINEL', 'REPLICAS', 'tasks')) as unknown[]).length === 1);
      const { logger, lines } = recordingLogger();
      const [web, worker] = [manager({ connection: sentinel.connection, logger }), manager({ connection: sentinel.connection })];
      const slow = worker.task('slow', () => sleep(0.02));
      await web.start({ run: false });
      await worker.start();
      const asked = web.define('slow');
      await asked.enqueueMany(Array.from({ length: 300 }, () => [] as []));
      await client.connect();
      // What a Redis that died had not yet told its replica is lost: that is its setting, not the engine's.
      await client.wait(1, 5000);
      await redis.stop('SIGKILL');
      await waitFor(() => slow.enqueue().catch(() => undefined));
      await succeeded(web, 301);
      expect((await worker.find({ limit: 1 })).total).toBe(301);
      expect(lines.map(({ msg }) => msg).filter((text) => /Redis of the tasks/.test(String(text)))).toEqual([
        'the Redis of the tasks cannot be used',
        'the Redis of the tasks can be used again',
      ]);
    } finally {
      watcher.disconnect();
      await Promise.all(managers.map((each) => each.stop({ timeout: 0.1 })));
      await sentinel.remove();
      await replica.remove();
    }
  });

  it('shows what a Redis holds that has lost its last entries, as after a failover, in every process', async () => {
    await begin();
    const [one, two] = [manager(), manager()];
    const noop = one.define('noop');
    let runs = 0;
    const count = two.task('count', () => {
      runs += 1;
    });
    await Promise.all([one.start({ run: false }), two.start()]);
    await count.enqueueMany([[], [], []]);
    await succeeded(two, 3);
    const kept = await noop.enqueue();
    await client.connect();
    const copies = await Promise.all([keys.journal, keys.state].map(async (key) => [key, await client.dumpBuffer(key)] as const));
    const lost = await noop.enqueue();
    await waitFor(async () => (await two.get(lost)) !== undefined);
    for (const [key, copy] of copies) await client.restore(key, 0, copy, 'REPLACE');
    await whenBack(async () => (await one.get(lost)) === undefined && (await two.get(lost)) === undefined);
    expect(await one.get(kept)).toMatchObject({ status: 'pending' });
    const after = await noop.enqueue();
    await waitFor(async () => (await two.get(after)) !== undefined);
    expect((await two.find({ limit: 10, name: 'noop' })).items.map(({ id }) => id).sort()).toEqual([kept, after].sort());
    // What this process had run is read again, and not run again.
    await sleep(0.2);
    expect(runs).toBe(3);
    await count.enqueue();
    await succeeded(two, 4);
    expect(runs).toBe(4);
  });

  it('runs each task once although its Redis hangs in the midst of them, again and again', async () => {
    await begin();
    const tasks = manager();
    const runs = new Map<number, number>();
    const job = tasks.task('job', async (n: number) => {
      runs.set(n, (runs.get(n) ?? 0) + 1);
      await sleep(0.02);
    });
    await tasks.start();
    const ids = await job.enqueueMany(Array.from({ length: 600 }, (_, n): [number] => [n]));
    for (let stop = 0; stop < 3; stop++) {
      await sleep(0.1 + Math.random() * 0.1);
      redis.signal('SIGSTOP');
      await sleep(stop === 0 ? 5.5 : 1.2);
      redis.signal('SIGCONT');
    }
    await whenBack(async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0);
    for (const id of ids) expect((await tasks.get(id))?.status).toBe('success');
    expect([...runs.values()].filter((n) => n !== 1)).toEqual([]);
    expect(runs.size).toBe(600);
  });

  it.each(['journal', 'snapshot'] as const)('puts what it knows in the place of a %s that was evicted', async (what) => {
    await begin();
    const tasks = manager();
    const note = tasks.define<[n: number]>('note');
    await note.enqueueMany([[1], [2], [3]]);
    await client.connect();
    if (what === 'snapshot') {
      const own = connectRedis(redis.connection);
      await whenReady(own);
      new Compactor({ redis: own, keys, logger: console as never }, 1).consider();
      await waitFor(async () => (await readState(own, keys)).snapshot);
      // Who makes one lets go of it last.
      await waitFor(async () => (await own.exists(keys.compacting)) === 0);
      own.disconnect();
    }
    const { snapshot } = await readState(client, keys);
    await client.del(snapshot ? keys.snapshot + snapshot.id : keys.journal);
    const late = manager();
    await whenBack(async () => (await late.find({ limit: 1 })).total === 3);
    await note.enqueue(4);
    await waitFor(async () => (await late.find({ limit: 1 })).total === 4);
    expect((await late.describe()).rev).toBe((await tasks.describe()).rev);
  });

  it('begins anew where the Redis was emptied', async () => {
    await begin();
    const tasks = manager();
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    await noop.enqueue();
    await succeeded(tasks, 1);
    await client.connect();
    await client.flushall();
    await whenBack(async () => (await tasks.find({ limit: 1 })).total === 0);
    await waitFor(() => noop.enqueue().catch(() => undefined));
    await succeeded(tasks, 1);
  });

  it('makes its journal shorter, and who comes later has the same tasks to the last number', async () => {
    await begin();
    const tasks = manager();
    const flaky = tasks.task('flaky', (n: number, _padding?: string) => {
      if (n % 3 === 0) throw new Error(`bad ${n}`);
      return n;
    });
    await tasks.start();
    await flaky.enqueueMany(Array.from({ length: 300 }, (_, n): [number] => [n]));
    await waitFor(async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0);
    const own = connectRedis(redis.connection);
    await whenReady(own);
    const before = await own.xlen(keys.journal);
    const compact = async (): Promise<void> => {
      const was = (await readState(own, keys)).snapshot?.serial ?? 0;
      new Compactor({ redis: own, keys, logger: console as never }, 1).consider();
      await waitFor(async () => ((await readState(own, keys)).snapshot?.serial ?? 0) > was);
    };
    await compact();
    expect(await own.xlen(keys.journal)).toBeLessThan(before / 2);
    await flaky.enqueue(1, randomBytes(200_000).toString('hex'));
    await succeeded(tasks, 201);
    // One from another, and not from the beginning, which is gone.
    await compact();
    const late = manager();
    const all = { limit: 500 };
    expect(await late.find(all)).toEqual(await tasks.find(all));
    expect((await late.describe()).rev).toBe((await tasks.describe()).rev);
    expect(await late.aggregate('failures', { limit: 10 })).toEqual(await tasks.aggregate('failures', { limit: 10 }));
    expect((await late.aggregate('metrics', {})).counts).toEqual((await tasks.aggregate('metrics', {})).counts);
    await flaky.enqueue(2);
    await waitFor(async () => (await late.find({ limit: 1 })).total === 302);
    own.disconnect();
  });

  it('takes no part any more once a newer version writes the same tasks', async () => {
    await begin();
    const tasks = manager();
    const noop = tasks.define('noop');
    await noop.enqueue();
    await client.connect();
    const serial = await client.hincrby(keys.state, 'serial', 1);
    const entry = { s: serial, by: 'newer', n: 1, b: '{"writes":[],"at":0,"how":"otherwise"}', l: 99 };
    await client.xadd(keys.journal, '*', ...Object.entries(entry).flat());
    await waitFor(() =>
      tasks.find({ limit: 1 }).then(
        () => false,
        (error: Error) => /newer version/.test(error.message),
      ),
    );
    const before = await client.xlen(keys.journal);
    await expect(noop.enqueue()).rejects.toThrow(/newer version .* nothing was written/);
    expect(await client.xlen(keys.journal)).toBe(before);
  });

  it.each([
    [{}, 'connection'],
    [{ connection: 'redis://127.0.0.1:1', prefix: 'a:b' }, 'prefix'],
    [{ connection: 'redis://127.0.0.1:1', retentionDays: 0 }, 'retentionDays'],
    [{ connection: 'redis://127.0.0.1:1', polling: true }, 'polling'],
  ])('refuses wrong options: %j', async (options, name) => {
    await begin();
    expect(() => bullmqEngine(options as never)).toThrow(name);
  });
});
