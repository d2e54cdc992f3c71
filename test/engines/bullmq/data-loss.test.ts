import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { followRevocations } from '../../../src/auth/sessions/revocations.js';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { redisStore } from '../../../src/engines/bullmq/store/redis-store.js';
import { TaskManager } from '../../../src/manager.js';
import { quickTimers } from '../../helpers/clock.js';
import { recordingLogger } from '../../helpers/logs.js';
import { hasRedis, RedisForEach } from '../../helpers/redis.js';
import { eventually, waitFor } from '../../helpers/wait.js';

const day = 86_400;

(hasRedis ? describe : describe.skip)('after Redis has lost its data, an engine', () => {
  const on = new RedisForEach();
  // At this interval a process writes its heartbeat and checks that Redis still has its data.
  beforeEach(() => quickTimers('setInterval', 5000));
  afterEach(() => void jest.restoreAllMocks());

  function manager(of: Partial<Parameters<typeof bullmqEngine>[0]> = {}): TaskManager {
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: on.redis.connection, logger: false, ...of }),
      logger: false,
    });
    on.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }

  /** The lasting keys of Redis, and the fields of hashes, without numbers that differ each time. */
  async function stored(): Promise<string[]> {
    const names = await on.client.keys('*');
    const all = await Promise.all(
      names.map(async (name): Promise<string[]> => {
        if ((await on.client.pttl(name)) > 0) return [];
        const isHash = (await on.client.type(name)) === 'hash';
        return [
          name,
          ...(isHash ? (await on.client.hkeys(name)).map((field) => `${name} ${field}`) : []),
        ];
      }),
    );
    return [...new Set(all.flat().map((name) => name.replace(/\d{13,}/g, '#')))].sort();
  }

  const losses = {
    'by FLUSHALL': () => on.client.flushall(),
    'by a restart': async () => {
      await on.redis.stop('SIGKILL');
      on.redis.forget();
      await on.redis.start();
    },
  };

  it('keeps the list of schedules of the process that runs them', async () => {
    const tasks = manager();
    tasks.schedule('nightly', () => 1, { cron: '0 3 * * *' });
    tasks.schedule('daily', () => 1, { every: day });
    await tasks.start();
    const list = async () =>
      (await tasks.describe()).schedules.map(({ name, nextRunAt }) => [
        name,
        Date.parse(nextRunAt ?? '') > Date.now(),
      ]);
    const all = [
      ['daily', true],
      ['nightly', true],
    ];
    await eventually(async () => expect(await list()).toEqual(all));
    const [, listed] = await Promise.all([on.client.flushall(), list()]);
    const names = [listed, await list()].map((rows) => rows.map(([name]) => name));
    expect(names).toEqual([
      ['daily', 'nightly'],
      ['daily', 'nightly'],
    ]);
    await eventually(async () => expect(await list()).toEqual(all));
  });

  for (const [how, lose] of Object.entries(losses)) {
    it(`restores what its processes stored at their start, after a loss ${how}`, async () => {
      const { logger, lines } = recordingLogger();
      const [web, worker] = [manager({ logger }), manager()];
      const noop = worker.task('noop', () => 1);
      const single = worker.task('single', () => 1, { concurrency: 1, queue: 'bulk' });
      worker.schedule('nightly', noop, { cron: '0 3 * * *' });
      worker.schedule('daily', noop, { every: day });
      await Promise.all([web.start({ run: false }), worker.start()]);
      for (const task of [noop, single, noop.with({ priority: 5 })]) await task.enqueue();
      await waitFor(async () => (await web.aggregate('statsSnapshot')).counts.success === 3);
      // No process restores the jobs, their changes and statistics, or the version that BullMQ
      // stores.
      const ofJobs = /~(stats|changes)|:(completed|events|pc|id|[\da-f-]{36})\b|meta version$/;
      const lasting = (names: readonly string[]): string[] =>
        names.filter((name) => !ofJobs.test(name));
      const before = lasting(await stored());
      expect(before).toEqual(
        expect.arrayContaining([
          '{koa-taskflow}:~queues bulk/single',
          '{koa-taskflow}:~schedules daily',
        ]),
      );
      await lose();
      await eventually(async () => expect(lasting(await stored())).toEqual(before), 15);
      expect((await web.describe()).schedules).toMatchObject([
        { name: 'daily' },
        { name: 'nightly' },
      ]);
      expect((await web.describe()).schedules.map(({ nextRunAt }) => nextRunAt)).not.toContain(
        null,
      );
      expect(await web.aggregate('workers')).toHaveLength(2);
      await waitFor(
        () =>
          lines.some(
            ({ level, msg }) => level === 50 && String(msg).startsWith('Redis has lost its data'),
          ),
        15,
      );
    });
  }

  it('runs newly enqueued tasks, also in a worker that starts later', async () => {
    const [web, first] = [manager(), manager()];
    first.task('noop', () => 1, { queue: 'bulk' });
    const noop = web.define('noop', { queue: 'bulk' });
    await Promise.all([web.start({ run: false }), first.start()]);
    await noop.enqueue();
    await waitFor(async () => (await web.aggregate('statsSnapshot')).counts.success === 1);
    await first.stop();
    await on.client.flushall();
    const id = await noop.enqueue();
    const second = manager();
    second.task('noop', () => 1, { queue: 'bulk' });
    await second.start();
    await waitFor(async () => (await web.get(id))?.status === 'success', 20);
  });

  it('shows no lost task after a few seconds', async () => {
    const tasks = manager();
    const noop = tasks.task('noop', () => 1);
    const bad = tasks.task('bad', () => Promise.reject(new Error('bad')));
    await tasks.start();
    await noop.enqueueMany(Array.from({ length: 3000 }, () => [] as []));
    await bad.enqueueMany(Array.from({ length: 10 }, () => [] as []));
    await noop.with({ runIn: day }).enqueueMany(Array.from({ length: 300 }, () => [] as []));
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 3000);
    // The total comes from BullMQ's counts. Tasks that are not in memory when Redis loses them are
    // not reported as removed.
    await waitFor(async () => {
      const { total, limited } = await tasks.find({ limit: 1 });
      return total === 3310 && !limited;
    });
    const stop = new AbortController();
    let gone = 0;
    const { rev } = await tasks.describe();
    const following = (async () => {
      for await (const changes of tasks.watch(rev, stop.signal))
        gone += changes.removed.length + changes.dropped;
    })();
    await on.client.flushall();
    await eventually(
      async () => expect(await tasks.find({ limit: 1 })).toMatchObject({ items: [], total: 0 }),
      15,
    );
    expect((await tasks.aggregate('metrics', { series: false })).counts).toMatchObject({
      success: 0,
      failed: 0,
      pending: 0,
    });
    expect((await tasks.find({ limit: 1, q: 'noop' })).items).toEqual([]);
    // Above this number, a change only reports that there are more.
    await waitFor(() => gone >= 1000, 15);
    stop.abort();
    await following;
  });

  it('shows the tasks that Redis still has', async () => {
    const tasks = manager();
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    const kept = await noop.enqueueMany(Array.from({ length: 20 }, () => [] as []));
    const succeeded = (n: number) =>
      waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === n);
    await succeeded(20);
    const dump = await dumped();
    await noop.enqueueMany(Array.from({ length: 5000 }, () => [] as []));
    await succeeded(5020);
    await waitFor(async () => (await tasks.find({ limit: 1 })).total === 5020);
    const loss = on.client.multi().flushall();
    for (const [name, value] of dump) loss.restore(name, 0, value);
    await loss.exec();
    await eventually(
      async () =>
        expect((await tasks.find({ limit: 100 })).items.map(({ id }) => id).sort()).toEqual(
          [...kept].sort(),
        ),
      15,
    );
  });

  /** All lasting keys with their values. */
  async function dumped(): Promise<[name: string, value: Buffer][]> {
    const names = await on.client.keys('*');
    const values = await Promise.all(
      names.map(
        async (name): Promise<[string, Buffer]> => [name, await on.client.dumpBuffer(name)],
      ),
    );
    return values.filter(([, value]) => value !== null);
  }

  it('restores the ended sessions that a running process knows', async () => {
    const follow = () => {
      const store = redisStore(on.redis.connection, { logger: false });
      on.keep(store);
      return followRevocations({
        store,
        prefix: 'revoked:',
        tokenExpiry: day,
        now: () => Date.now(),
      });
    };
    const session = {
      id: 'a-session',
      strategy: 'default',
      username: 'ada',
      authenticatedAt: new Date(),
    };
    const running = follow();
    await running.ready();
    await running.end(session.id, new Date(Date.now() + day * 1000));
    await running.endAll('default', 'grace');
    await on.client.flushall();
    await waitFor(async () => {
      // Each request checks the list.
      await running.ready();
      return (await on.client.exists('{koa-taskflow}:value:revoked:id:a-session')) === 1;
    }, 15);
    const restarted = follow();
    await restarted.ready();
    expect(restarted.has(session, 0)).toBe(true);
    expect(restarted.has({ ...session, id: 'other', username: 'grace' }, 0)).toBe(true);
    expect(restarted.has({ ...session, id: 'other' }, 0)).toBe(false);
  });
});
