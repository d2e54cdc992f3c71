import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import { neededCommands } from '../../../src/engines/bullmq/connection/permissions.js';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../src/manager.js';
import { taskContext } from '../../../src/tasks/context.js';
import { quickTimers } from '../../helpers/clock.js';
import { recordingLogger } from '../../helpers/logs.js';
import { startProcess } from '../../helpers/process.js';
import { hasRedis, RedisServer, replicated, startSentinel } from '../../helpers/redis.js';
import { gate, sleep, waitFor } from '../../helpers/wait.js';

/** Names of the commands that the user must be allowed to run, in lower case and sorted. */
const neededCommandNames = [
  ...new Set([...neededCommands.map(([name = '']) => name), 'multi', 'exec', 'discard']),
].sort();

const unavailable = expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' });
/** The log lines of a process that loses its connection to Redis. */
const lost = ['error Redis is unreachable', 'info Redis is reachable again'];
/** The log lines of a process whose Redis is connected but cannot be used. */
const unusable = ['error Redis cannot be used', 'info Redis can be used again'];

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
    // At this interval, a process writes its heartbeat and checks that Redis accepts writes.
    quickTimers('setInterval', 5000);
    managers = [];
  });
  afterEach(async () => {
    await Promise.all(managers.map((each) => each.stop({ timeout: 0.1 })));
    client.disconnect();
    await redis.remove();
    jest.restoreAllMocks();
  });

  function manager({
    logger = false,
    ...of
  }: Partial<Parameters<typeof bullmqEngine>[0]> = {}): TaskManager {
    const made = new TaskManager({
      engine: bullmqEngine({ connection: redis.connection, logger, ...of }),
      logger,
    });
    managers.push(made);
    return made;
  }
  /** Waits for a condition. Errors count as false, because calls fail while Redis is unusable. */
  const whenBack = (look: () => Promise<boolean>) => waitFor(() => look().catch(() => false), 20);
  const succeeded = (tasks: TaskManager, n: number) =>
    whenBack(async () => (await tasks.aggregate('statsSnapshot')).counts.success === n);
  const refused = (call: () => Promise<unknown>) =>
    waitFor(() =>
      call().then(
        () => false,
        (error: { code: string }) => error.code === 'ENGINE_UNAVAILABLE',
      ),
    );
  const said = (lines: readonly Record<string, unknown>[]): string[] =>
    lines
      .filter(({ level, msg }) => Number(level) >= 30 && !String(msg).startsWith('task '))
      .map(({ level, msg }) => `${Number(level) >= 50 ? 'error' : 'info'} ${msg}`);

  it('starts while Redis is unreachable, and runs tasks once it is reachable', async () => {
    await begin();
    await redis.stop();
    const tasks = manager({ connection: { ...redis.connection, password: 'unspeakable' } });
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    const error = await noop.enqueue().catch((thrown: unknown) => thrown);
    expect(error).toEqual(unavailable);
    expect((error as Error).message).toContain(`127.0.0.1:${redis.port}`);
    await expect(tasks.find({ limit: 1 })).rejects.toThrow(unavailable);
    expect(`${(error as Error).message} ${(error as Error).stack}`).not.toContain('unspeakable');
    await redis.start();
    await whenBack(async () => Boolean(await noop.enqueue()));
    await succeeded(tasks, 1);
  });

  it('logs one line when Redis is lost and one when it returns, and runs tasks', async () => {
    await begin();
    const [web, worker] = [recordingLogger(), recordingLogger()];
    const [shown, run] = [manager({ logger: web.logger }), manager({ logger: worker.logger })];
    const noop = run.task('noop', () => 1);
    run.schedule('often', noop, { every: 1 });
    await Promise.all([shown.start({ run: false }), run.start()]);
    await noop.enqueue();
    await whenBack(async () => (await shown.aggregate('statsSnapshot')).counts.success >= 1);
    await shown.find({ limit: 5 });
    await redis.stop();
    await refused(() => shown.find({ limit: 5 }));
    await refused(() => noop.enqueue());
    await sleep(3);
    await redis.start();
    await whenBack(async () => Boolean(await noop.enqueue()));
    const before = (await shown.aggregate('statsSnapshot')).counts.success;
    await whenBack(
      async () => (await shown.aggregate('statsSnapshot')).counts.success > before + 1,
    );
    await waitFor(() => said(web.lines).length >= 2 && said(worker.lines).length >= 2, 10);
    expect(said(web.lines)).toEqual(lost);
    expect(said(worker.lines)).toEqual(lost);
  });

  it('reports that Redis hangs, and loses no task', async () => {
    await begin();
    const { logger, lines } = recordingLogger();
    const tasks = manager({ logger });
    const runs = new Map<number, number>();
    const job = tasks.task('job', async (n: number) => {
      runs.set(n, (runs.get(n) ?? 0) + 1);
      await sleep(0.02);
    });
    await tasks.start();
    const ids = await job.enqueueMany(Array.from({ length: 300 }, (_, n): [number] => [n]));
    await sleep(0.1);
    redis.signal('SIGSTOP');
    await waitFor(() => said(lines).length === 1, 15);
    redis.signal('SIGCONT');
    await succeeded(tasks, 300);
    for (const id of ids) expect((await tasks.get(id))?.status).toBe('success');
    expect([...runs.values()].filter((n) => n !== 1)).toEqual([]);
    await waitFor(() => said(lines).length === 2, 10);
    expect(said(lines)).toEqual(unusable);
  });

  it('keeps the password of Redis out of errors and logs', async () => {
    await begin('--requirepass', 'unspeakable-1');
    const { logger, text } = recordingLogger();
    for (const password of ['unspeakable-2', undefined]) {
      const tasks = manager({
        logger,
        connection: { ...redis.connection, ...(password !== undefined && { password }) },
      });
      const error = (await tasks.start().catch((thrown: unknown) => thrown)) as Error;
      expect(error).toEqual(unavailable);
      expect(error.message).toMatch(password ? /WRONGPASS/ : /NOAUTH/);
      expect(error.message).not.toContain('..');
      expect(
        JSON.stringify([error, error.message, error.stack, String(error.cause)]) + text(),
      ).not.toMatch(/unspeakable/);
    }
    const right = manager({ connection: { ...redis.connection, password: 'unspeakable-1' } });
    await right.start();
    expect((await right.describe()).engine).toBe('bullmq');
  });

  it('works for a user with only the documented commands', async () => {
    await begin();
    await client.connect();
    const allowed = [...neededCommandNames, 'client|setname'].map((name) => `+${name}`);
    await client.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~{mine}*', '-@all', ...allowed);
    const { logger, lines } = recordingLogger();
    const tasks = manager({
      logger,
      connection: { ...redis.connection, username: 'app', password: 'secret' },
      prefix: 'mine',
    });
    const job = tasks.task('job', (n: number) => n, { queue: 'bulk' });
    const bad = tasks.task(
      'bad',
      () => {
        throw new Error('bad');
      },
      { retries: 1, delay: 0.01, concurrency: 1 },
    );
    tasks.schedule('often', job, { every: 1, args: [1] });
    await tasks.start();
    await job.enqueue(1);
    await job.enqueueMany([[1], [2]]);
    await job.with({ priority: 5, tags: { a: 'b' } }).enqueue(3);
    const [once, waits] = [
      await job.with({ idempotencyKey: 'x' }).enqueue(4),
      await job.with({ runIn: 60 }).enqueue(5),
    ];
    expect(await job.with({ idempotencyKey: 'x' }).enqueue(4)).toBe(once);
    const failed = await bad.enqueue();
    await waitFor(async () => (await tasks.get(failed))?.status === 'failed');
    const by = { actor: 'ada' };
    for (const action of ['cancel', 'retry', 'run'] as const)
      expect((await tasks.control({ action, ids: [waits] }, by)).results).toMatchObject([
        { ok: action !== 'run' },
      ]);
    for (const action of ['rerun', 'delete'] as const)
      expect((await tasks.control({ action, ids: [failed] }, by)).results).toMatchObject([
        { ok: true },
      ]);
    for (const action of ['pause', 'resume'] as const)
      await tasks.control({ action, queue: 'bulk' }, by);
    for (const action of ['pause', 'resume'] as const)
      await tasks.control({ action, schedule: 'often' }, by);
    await whenBack(async () => (await tasks.aggregate('statsSnapshot')).counts.success >= 5);
    await tasks.find({ limit: 10, q: 'job' });
    for (const kind of ['waits', 'workers'] as const) await tasks.aggregate(kind);
    await tasks.aggregate('metrics', {});
    await tasks.aggregate('failures', { limit: 5 });
    await tasks.store.set('key', 1, 60);
    await tasks.store.append('audit', { a: 1 }, 60);
    await tasks.store.list('k', undefined, 5);
    expect(said(lines)).toEqual([]);
    const refusals = (await client.call('ACL', 'LOG')) as string[][];
    const commands = refusals.map((entry) => entry[entry.indexOf('object') + 1]);
    // ioredis sends its name to the server and ignores the answer. Valkey rejects this command.
    expect(commands.filter((name) => name !== 'client|setinfo')).toEqual([]);
  });

  it('documents the commands that its user needs', async () => {
    await begin();
    const docs = readFileSync(
      new URL('../../../docs/from-one-file-to-redis.md', import.meta.url),
      'utf8',
    );
    const line = docs.split('\n').find((each) => each.includes('ACL SETUSER app')) ?? '';
    const documented = [...line.matchAll(/ \+(\S+)/g)].map(([, name]) => name);
    expect(documented).toEqual(['client|setname', ...neededCommandNames]);
  });

  it.each(['xadd', 'bzpopmin', 'zpopmin', 'evalsha', 'info', 'exec'])(
    'does not start for a user without %s, and names it',
    async (name) => {
      await begin();
      await client.connect();
      const others = neededCommandNames.filter((each) => each !== name).map((each) => `+${each}`);
      await client.call(
        'ACL',
        'SETUSER',
        'app',
        'on',
        '>unspeakable',
        '~{koa-taskflow}*',
        '-@all',
        ...others,
      );
      const tasks = manager({
        connection: { ...redis.connection, username: 'app', password: 'unspeakable' },
      });
      const error = (await tasks.start().catch((thrown: unknown) => thrown)) as Error;
      expect(error).toEqual(unavailable);
      expect(error.message).toContain(`'${name}'`);
      expect(error.message).not.toContain('unspeakable');
    },
  );

  describe('if its Redis user lacks a permission', () => {
    const user = { username: 'app', password: 'secret' };
    const begun = async (): Promise<void> => {
      await begin('--user', 'app', 'on', '>secret', '~*', '+@all', '-info');
      await client.connect();
    };
    const allow = (rule: string) => client.call('ACL', 'SETUSER', 'app', rule);

    it('names it at the first call, and enqueues once it is granted', async () => {
      await begun();
      const tasks = manager({ connection: { ...redis.connection, ...user } });
      const noop = tasks.define('noop');
      await expect(noop.enqueue()).rejects.toThrow(/'info'/);
      await Promise.all([allow('+info'), allow('-xadd')]);
      await expect(noop.enqueue()).rejects.toThrow(/'xadd'/);
      await allow('+xadd');
      expect((await tasks.get(await noop.enqueue()))?.status).toBe('pending');
    });

    it('recovers once it is granted, although queues were first used without it', async () => {
      await begun();
      await allow('+info');
      const own = manager();
      own.schedule(
        'often',
        own.task('noop', () => 1),
        { every: 60 },
      );
      await own.start();
      const id = await own.define('later').enqueue();
      const tasks = manager({ connection: { ...redis.connection, ...user } });
      await tasks.start({ run: false });
      await allow('-info');
      const look = () => Promise.all([tasks.get(id), tasks.describe()]);
      await look().catch(() => undefined);
      await allow('+info');
      const [task, { schedules }] = await look();
      expect([task?.status, schedules.length]).toEqual(['pending', 1]);
    });

    it('runs tasks and schedules once it is granted to connected workers', async () => {
      await begun();
      await manager().define('noop').enqueue();
      await redis.stop();
      const tasks = manager({ connection: { ...redis.connection, ...user } });
      tasks.schedule(
        'often',
        tasks.task('noop', () => 1),
        { every: 0.5 },
      );
      await tasks.start();
      await redis.start();
      const connections = async () =>
        String(await client.client('LIST')).split('user=app').length - 1;
      // One connection is for callers, one for workers, and one for each of two queues.
      await whenBack(async () => (await connections()) === 4);
      await allow('+info');
      await whenBack(async () => (await tasks.aggregate('statsSnapshot')).counts.success >= 3);
    });
  });

  it('does not start for a user without access to the keys of its prefix', async () => {
    await begin();
    await client.connect();
    await client.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~{other}*', '+@all');
    const tasks = manager({
      connection: { ...redis.connection, username: 'app', password: 'secret' },
    });
    await expect(tasks.start()).rejects.toThrow('{koa-taskflow}');
  });

  it('rejects tasks while Redis is a read-only replica, and then recovers', async () => {
    await begin();
    const { logger, lines } = recordingLogger();
    const tasks = manager({ logger });
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    await client.connect();
    await client.replicaof('127.0.0.1', 1);
    await refused(() => noop.enqueue());
    await expect(noop.enqueue()).rejects.toThrow(/READONLY/);
    await waitFor(() => said(lines).length === 1, 15);
    expect(lines.find(({ level }) => level === 50)).toMatchObject({
      err: { message: expect.stringMatching(/READONLY/) },
    });
    await expect(manager().start()).rejects.toThrow(/READONLY/);
    await client.replicaof('NO', 'ONE');
    await whenBack(async () => Boolean(await noop.enqueue()));
    await succeeded(tasks, 1);
    await waitFor(() => said(lines).length === 2, 15);
    expect(said(lines)).toEqual(unusable);
  });

  it('rejects what does not fit into a full Redis, and recovers', async () => {
    await begin();
    const tasks = manager();
    const note = tasks.task('note', (text: string) => text);
    await tasks.start();
    await note.enqueue('x');
    await client.connect();
    await client.config('SET', 'maxmemory', '1mb');
    await refused(() => note.enqueue('y'));
    await client.config('SET', 'maxmemory', '0');
    await whenBack(async () => Boolean(await note.enqueue('z')));
    await whenBack(async () => (await tasks.aggregate('statsSnapshot')).counts.success >= 2);
  });

  it('lets a process exit if it was stopped before its first use', async () => {
    await begin();
    const script = `import { TaskManager } from 'koa-taskflow';
      import { bullmqEngine } from 'koa-taskflow/bullmq';
      const connection = 'redis://127.0.0.1:${redis.port}';
      await new TaskManager({ engine: bullmqEngine({ connection, logger: false }) }).stop();`;
    const child = startProcess(process.execPath, ['--input-type=module', '-e', script]);
    expect(await Promise.race([child.ended, sleep(8).then(() => 'still there')])).toBe(0);
  });

  it('logs one error if Redis may evict keys', async () => {
    await begin('--maxmemory-policy', 'allkeys-lru');
    const { logger, lines } = recordingLogger();
    await manager({ logger }).start();
    expect(lines.filter(({ level }) => Number(level) >= 40)).toMatchObject([
      { level: 50, policy: 'allkeys-lru' },
    ]);
  });

  it.each([
    [['--appendonly', 'no'], 1],
    [['--appendonly', 'no', '--save', '60', '1'], 0],
    [[], 0],
  ])('warns only if Redis stores nothing on disk (started with %j)', async (options, warnings) => {
    await begin(...options);
    const { logger, lines } = recordingLogger();
    const tasks = manager({ logger });
    await tasks.start();
    await tasks.describe();
    await sleep(0.3);
    expect(
      lines.filter(({ level, msg }) => level === 40 && /in memory only/.test(String(msg))),
    ).toHaveLength(warnings);
  });

  it('can be started again if its start fails', async () => {
    await begin();
    await client.connect();
    // This key has the wrong type, so the process connects, but its first reads fail.
    await client.set('{koa-taskflow}:~cancelling', 'no hash');
    const tasks = manager({ lockDuration: 5, stalledInterval: 1 });
    const noop = tasks.task('noop', () => 1);
    await expect(tasks.start()).rejects.toThrow(unavailable);
    await client.del('{koa-taskflow}:~settling', '{koa-taskflow}:~instances');
    // This is longer than the intervals of the heartbeat and of the check for stalled tasks.
    await sleep(1.5);
    expect(await client.exists('{koa-taskflow}:~settling', '{koa-taskflow}:~instances')).toBe(0);
    await client.del('{koa-taskflow}:~cancelling');
    await tasks.start();
    await noop.enqueue();
    await succeeded(tasks, 1);
    expect(await tasks.aggregate('workers')).toHaveLength(1);
  });

  it('recovers if Redis hangs while tasks run, and logs two lines', async () => {
    await begin();
    const [web, worker] = [recordingLogger(), recordingLogger()];
    const options = { lockDuration: 5, stalledInterval: 1 };
    const [shown, run] = [
      manager({ logger: web.logger, ...options }),
      manager({ logger: worker.logger, ...options }),
    ];
    const runs: string[] = [];
    const slow = run.task('slow', async (seconds: number) => {
      runs.push(taskContext().id);
      await sleep(seconds);
    });
    run.schedule('often', slow, { every: 1, args: [0] });
    await Promise.all([shown.start({ run: false }), run.start()]);
    const ids = await Promise.all([0.1, 3, 10].map((seconds) => slow.enqueue(seconds)));
    await waitFor(async () => (await shown.get(ids[2] ?? ''))?.status === 'running');
    await shown.find({ limit: 5 });
    redis.signal('SIGSTOP');
    // This is longer than a lock lasts and longer than the engine waits for Redis.
    await Promise.all([
      sleep(6.5),
      waitFor(() => said(web.lines).length === 1 && said(worker.lines).length === 1, 20),
    ]);
    redis.signal('SIGCONT');
    for (const id of ids) await whenBack(async () => (await shown.get(id))?.status === 'success');
    expect(runs.filter((id) => ids.includes(id)).sort()).toEqual([...ids].sort());
    const before = runs.length;
    await waitFor(() => runs.length > before + 1, 10);
    await waitFor(() => said(web.lines).length >= 2 && said(worker.lines).length >= 2, 15);
    expect(said(web.lines)).toEqual(unusable);
    expect(said(worker.lines)).toEqual(unusable);
  });

  it('continues on the replica that Sentinel promotes', async () => {
    await begin('--repl-diskless-sync-delay', '0');
    const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(redis.port));
    const sentinel = await startSentinel(redis);
    const watcher = new Redis({
      host: '127.0.0.1',
      port: sentinel.connection.sentinels[0]?.port ?? 0,
      lazyConnect: true,
    });
    try {
      // Sentinel can promote the replica only after it has found it.
      await waitFor(
        async () =>
          ((await watcher.call('SENTINEL', 'REPLICAS', 'tasks')) as unknown[]).length === 1,
      );
      const { logger, lines } = recordingLogger();
      const [web, worker] = [
        manager({ connection: sentinel.connection, logger }),
        manager({ connection: sentinel.connection }),
      ];
      const kill = gate();
      const slow = worker.task('slow', () => kill.passed);
      await web.start({ run: false });
      await worker.start();
      await web.define('slow').enqueueMany(Array.from({ length: 300 }, () => [] as []));
      await client.connect();
      await waitFor(async () => (await web.aggregate('statsSnapshot')).counts.running === 10);
      // No task ends before the kill, because Redis loses what its replica does not have yet.
      await replicated(client);
      await redis.stop('SIGKILL');
      kill.open();
      await whenBack(async () => Boolean(await slow.enqueue()));
      await succeeded(web, 301);
      await waitFor(() => said(lines).length === 2, 10);
      expect(said(lines)).toEqual(lost);
    } finally {
      watcher.disconnect();
      await Promise.all(managers.map((each) => each.stop({ timeout: 0.1 })));
      await sentinel.remove();
      await replica.remove();
    }
  });

  it.each([
    ['options', { host: '127.0.0.1', port: 1, keyPrefix: 'app:' }],
    ['a URL', 'redis://127.0.0.1:1/?keyPrefix=app:'],
  ])('rejects a keyPrefix of ioredis in %s', async (_name, connection) => {
    await begin();
    expect(() => bullmqEngine({ connection })).toThrow(/keyPrefix/);
  });

  it.each([
    [{}, 'connection'],
    [{ connection: 'redis://127.0.0.1:1', prefix: 'a:b' }, 'prefix'],
    [{ connection: 'redis://127.0.0.1:1', retentionDays: 0 }, 'retentionDays'],
    [{ connection: 'redis://127.0.0.1:1', polling: true }, 'polling'],
  ])('rejects invalid options: %j', async (options, name) => {
    await begin();
    expect(() => bullmqEngine(options as never)).toThrow(name);
  });
});
