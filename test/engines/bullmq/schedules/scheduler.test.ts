import { describe, expect, it, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import { RedisClock } from '../../../../src/engines/bullmq/connection/redis-clock.js';
import { JobEngine } from '../../../../src/engines/bullmq/job-engine.js';
import { Enqueuer } from '../../../../src/engines/bullmq/jobs/enqueuer.js';
import { engineKeys } from '../../../../src/engines/bullmq/keys.js';
import { ScheduleRecords } from '../../../../src/engines/bullmq/schedules/schedule-records.js';
import { TaskManager } from '../../../../src/manager.js';
import { loggerOption } from '../../../../src/options.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { gate, promptly, sleep, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('schedules of the Redis engine', () => {
  const forEach = new RedisForEach();
  const manager = (): TaskManager => {
    const engine = new JobEngine({
      connection: forEach.redis.connection,
      prefix: 'ticks',
      logger: loggerOption('logger', false),
      lockDuration: 20_000,
      kept: { age: 604_800, count: 100_000 },
      statistics: { minutes: 604_800_000, hours: 34_560_000_000 },
    });
    const made = new TaskManager({ engine, logger: false });
    forEach.keep({ close: () => made.stop({ timeout: 1 }) });
    return made;
  };
  const by = { actor: 'test' };

  it('fire once, however many processes define them', async () => {
    const runs: number[] = [];
    const began = Date.now();
    for (let n = 0; n < 3; n++) {
      const tasks = manager();
      tasks.schedule(
        'ticking',
        tasks.task('tick', () => runs.push(Date.now())),
        { every: 0.2, overlap: true },
      );
      await tasks.start();
    }
    await waitFor(() => runs.length >= 5, 10);
    expect(runs.length).toBeLessThanOrEqual(Math.ceil((Date.now() - began) / 200) + 2);
  });

  it('keep their next time across a restart, and catch up one run', async () => {
    const first = manager();
    first.schedule(
      'ticking',
      first.task('tick', () => 1),
      { every: 0.3 },
    );
    await first.start();
    await waitFor(async () => (await first.describe()).schedules[0]?.lastRunAt);
    await first.stop();
    const stored = await forEach.client.hgetall('{ticks}:~schedule-states');
    await sleep(1.5);
    let runs = 0;
    const second = manager();
    second.schedule(
      'ticking',
      second.task('tick', () => {
        runs += 1;
      }),
      { every: 0.3 },
    );
    await second.start();
    await waitFor(() => runs === 1);
    expect(stored['last:ticking']).toBeDefined();
    await sleep(0.1);
    expect(runs).toBeLessThanOrEqual(2);
  });

  it.each([
    ['is killed', [0, 0.005, 0.02, 0.05], () => forEach.redis.stop('SIGKILL')],
    ['hangs', [0.02], async () => forEach.redis.signal('SIGSTOP')],
  ])('let a process stop while Redis %s', async (_name, delays, disturb) => {
    for (const seconds of delays) {
      const tasks = manager();
      tasks.schedule(
        'ticking',
        tasks.task('tick', () => 1),
        { every: 60 },
      );
      await tasks.start();
      await waitFor(async () => (await tasks.describe()).schedules[0]?.nextRunAt);
      const stopped = tasks.stop({ timeout: 0 }).then(() => 'stopped');
      const disturbed = disturb();
      await sleep(seconds);
      expect([seconds, await Promise.race([stopped, sleep(promptly)])]).toEqual([
        seconds,
        'stopped',
      ]);
      await disturbed;
      await forEach.redis.stop('SIGKILL');
      await forEach.redis.start();
    }
  });

  it.each([
    ['has too few replicas', 'min-replicas-to-write', '1'],
    ['has no memory left', 'maxmemory', '1mb'],
  ])(
    'fire within seconds after a time in which Redis %s, and so do delayed tasks',
    async (_, setting, refusing) => {
      const tasks = manager();
      let runs = 0;
      const ticked = tasks.task('tick', () => {
        runs += 1;
      });
      tasks.schedule('ticking', ticked, { every: 0.25, overlap: true });
      const later = tasks.task('later', () => 1);
      await tasks.start();
      await waitFor(() => runs > 1);
      const id = await later.with({ runIn: 2 }).enqueue();
      await forEach.client.config('SET', setting, refusing);
      await sleep(1.5);
      const before = runs;
      await forEach.client.config('SET', setting, '0');
      // The usual time is a second. Locks and waits of BullMQ last ten seconds.
      await waitFor(() => runs > before + 2, 5);
      await waitFor(async () => (await tasks.get(id))?.status === 'success', 5);
    },
  );

  it('skip the runs that are due while a task is being stored', async () => {
    const { passed, open } = gate();
    const { enqueue } = Enqueuer.prototype;
    const storing = jest.spyOn(Enqueuer.prototype, 'enqueue').mockImplementation(async function (
      this: Enqueuer,
      ...args
    ) {
      await passed;
      return enqueue.apply(this, args);
    });
    try {
      const tasks = manager();
      tasks.schedule(
        'ticking',
        tasks.task('tick', () => 1),
        { every: 0.1 },
      );
      await tasks.start();
      await waitFor(async () => Number((await tasks.describe()).schedules[0]?.skipped) >= 3, 20);
      expect(storing).toHaveBeenCalledTimes(1);
      open();
      await waitFor(async () => (await tasks.describe()).schedules[0]?.lastTaskId);
    } finally {
      storing.mockRestore();
    }
  });

  describe('with unreadable records', () => {
    const records = '{ticks}:~schedules';
    const states = '{ticks}:~schedule-states';
    const good = {
      name: 'good',
      task: 'tick',
      rule: 'every 60',
      catchUp: false,
      overlap: false,
      template: {},
    };

    it('are not listed, and are stored again by a process that defines them', async () => {
      const template = {
        name: 'tick',
        queue: 'default',
        args: '[]',
        tags: {},
        priority: 0,
        attempts: 1,
        interrupts: 0,
        runAt: 1,
      };
      const texts = [
        'null',
        '{}',
        'no JSON',
        JSON.stringify(good),
        JSON.stringify({ ...good, template: { ...template, queue: null } }),
      ];
      const odd = Object.fromEntries(texts.map((text, n) => [`odd ${n}`, text]));
      await forEach.client.hset(records, { ...odd, good: JSON.stringify({ ...good, template }) });
      const tasks = manager();
      expect((await tasks.describe()).schedules.map(({ name }) => name)).toEqual(['good']);
      await expect(tasks.control({ action: 'run', schedule: 'odd 0' }, by)).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
      const worker = manager();
      let runs = 0;
      const tick = worker.task('tick', () => {
        runs += 1;
      });
      for (const name of Object.keys(odd)) worker.schedule(name, tick, { every: 0.5 });
      await worker.start();
      await waitFor(() => runs >= texts.length);
      expect((await tasks.describe()).schedules.map(({ name }) => name)).toEqual([
        'good',
        ...Object.keys(odd),
      ]);
    });

    it.each(['null', '{}', 'no JSON'])(
      'are shown and run without the unreadable part: %s',
      async (text) => {
        const tasks = manager();
        let runs = 0;
        const tick = tasks.task('tick', () => {
          runs += 1;
        });
        tasks.schedule('odd', tick, { every: 0.5 });
        await forEach.client.hset(states, {
          'last:odd': text,
          'skipped:odd': text,
          'next:odd': text,
          'claim:odd': text,
        });
        await tasks.start();
        await waitFor(() => runs > 0);
        expect((await tasks.describe()).schedules).toMatchObject([
          { name: 'odd', paused: false, skipped: 0 },
        ]);
      },
    );

    it('are paused if their pause is unreadable', async () => {
      const tasks = manager();
      const tick = tasks.task('tick', () => 1);
      for (const name of ['a', 'b', 'c']) tasks.schedule(name, tick, { every: 60 });
      await forEach.client.hset(states, {
        'pause:a': 'null',
        'pause:b': '{}',
        'pause:c': 'no JSON',
      });
      await tasks.start();
      await waitFor(async () => (await forEach.client.hlen(records)) === 3);
      const paused = { paused: true, nextRunAt: null, pause: { by: '', reason: null } };
      expect((await tasks.describe()).schedules).toMatchObject([paused, paused, paused]);
    });
  });

  it('create no second task while one is being created', async () => {
    const redis = new Redis(forEach.redis.connection);
    forEach.keep({ close: () => redis.quit() });
    const [records, other] = [1, 2].map(
      () =>
        new ScheduleRecords(
          redis,
          engineKeys('ticks'),
          new RedisClock(redis, loggerOption('logger', false)),
        ),
    );
    const last = { at: 1, id: 'first', queue: 'q' };
    expect(
      await Promise.all([
        records?.claim('s', 'first', undefined),
        other?.claim('s', 'second', undefined),
      ]),
    ).toEqual([true, false]);
    // A repeated tick continues.
    expect(await other?.claim('s', 'first', undefined)).toBe(true);
    await records?.fired('s', last);
    expect(await other?.claim('s', 'second', undefined)).toBe(false);
    expect(await other?.claim('s', 'second', last)).toBe(true);
    // The claim of a dead process expires.
    await redis.hset('{ticks}:~schedule-states', 'claim:s', `second ${Date.now() - 60_000}`);
    expect(await records?.claim('s', 'third', last)).toBe(true);
  });

  it('can be paused, resumed and run, but not removed while defined', async () => {
    const tasks = manager();
    tasks.schedule(
      'ticking',
      tasks.task('tick', () => 1),
      { every: 0.1 },
    );
    await tasks.start();
    const state = async () =>
      (await tasks.describe()).schedules.find(({ name }) => name === 'ticking');
    await waitFor(async () => (await state())?.lastTaskId);
    expect(
      await tasks.control({ action: 'pause', schedule: 'ticking' }, { ...by, reason: 'deploy' }),
    ).toMatchObject({ known: true });
    expect(await state()).toMatchObject({
      paused: true,
      pause: { by: 'test', reason: 'deploy' },
      nextRunAt: null,
    });
    await sleep(0.2);
    const { lastTaskId } = (await state()) ?? {};
    await sleep(0.4);
    expect((await state())?.lastTaskId).toBe(lastTaskId);
    const { results } = await tasks.control({ action: 'run', schedule: 'ticking' }, by);
    expect(results[0]).toMatchObject({ ok: true, task: { source: 'scheduled', name: 'tick' } });
    await tasks.control({ action: 'resume', schedule: 'ticking' }, by);
    await waitFor(
      async () => (await state())?.lastTaskId !== (results[0]?.ok ? results[0].id : ''),
    );
    const defined = expect.objectContaining({ code: 'SCHEDULE_DEFINED' });
    await expect(tasks.control({ action: 'remove', schedule: 'ticking' }, by)).rejects.toThrow(
      defined,
    );
    const unknown = expect.objectContaining({ code: 'NOT_FOUND' });
    await expect(tasks.control({ action: 'run', schedule: 'unknown' }, by)).rejects.toThrow(
      unknown,
    );
  });

  it('are marked, do not fire, and can be removed if no process defines them', async () => {
    const first = manager();
    first.schedule(
      'old',
      first.task('tick', () => 1),
      { every: 0.1 },
    );
    await first.start();
    await waitFor(async () => (await first.describe()).schedules[0]?.lastTaskId);
    await first.stop();
    await forEach.client.hset('{ticks}:~schedule-states', 'seen:old', Date.now() - 120_000);
    const { 'last:old': before } = await forEach.client.hgetall('{ticks}:~schedule-states');
    const second = manager();
    second.schedule(
      'new',
      second.task('tick', () => 1),
      { every: 0.1 },
    );
    await second.start();
    await waitFor(
      async () =>
        (await second.describe()).schedules.find(({ name }) => name === 'new')?.lastTaskId,
    );
    const [, old] = (await second.describe()).schedules;
    expect(old?.undefinedSince).not.toBeNull();
    expect((await forEach.client.hgetall('{ticks}:~schedule-states'))['last:old']).toBe(before);
    expect(await second.control({ action: 'remove', schedule: 'old' }, by)).toMatchObject({
      known: true,
    });
    expect((await second.describe()).schedules.map(({ name }) => name)).toEqual(['new']);
  });
});
