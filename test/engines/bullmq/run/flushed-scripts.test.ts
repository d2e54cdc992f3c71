import { describe, expect, it } from '@jest/globals';
import type { TaskManager } from '../../../../src/manager.js';
import { taskContext } from '../../../../src/tasks/context.js';
import { useJobProcesses } from '../../../helpers/job-processes.js';
import { hasRedis } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('if Redis repeatedly loses its scripts', () => {
  const processes = useJobProcesses();

  async function whileFlushing(act: () => Promise<void>): Promise<void> {
    let isOver = false;
    const flushing = [1, 2, 3].map(async () => {
      const client = processes.client();
      while (!isOver) await client.script('FLUSH');
      client.disconnect();
    });
    await act().finally(() => {
      isOver = true;
    });
    await Promise.all(flushing);
  }
  const countsOf = async (tasks: TaskManager): Promise<unknown> =>
    (await tasks.aggregate('statsSnapshot')).counts;

  it('each task is stored, and so is its end', async () => {
    const tasks = processes.manager();
    let calls = 0;
    const task = tasks.task('count', (_text: string) => {
      calls += 1;
    });
    await whileFlushing(async () => {
      // Redis does not read all of these large commands at once, so it drops scripts between them.
      const enqueueSome = async (): Promise<void> => {
        for (let n = 0; n < 15; n++) await task.enqueue('x'.repeat(20_000));
      };
      await Promise.all(Array.from({ length: 20 }, enqueueSome));
      await tasks.start();
      await waitFor(() => calls === 300);
    });
    await waitFor(
      async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0,
    );
    expect(await countsOf(tasks)).toMatchObject({ success: 300, failed: 0, interrupted: 0 });
  });

  it('the end of each cancelled task is stored', async () => {
    const tasks = processes.manager();
    let calls = 0;
    const task = tasks.task(
      'endless',
      () =>
        new Promise((resolve) => {
          calls += 1;
          taskContext().signal.addEventListener('abort', resolve);
        }),
    );
    await tasks.start();
    const ids = await task.enqueueMany(Array.from({ length: 10 }, () => []));
    await waitFor(() => calls === 10);
    await whileFlushing(async () => {
      await Promise.all(
        ids.map((id) => tasks.control({ action: 'cancel', ids: [id] }, { actor: 'test' })),
      );
      await waitFor(async () => (await tasks.find({ limit: 1, status: ['running'] })).total === 0);
    });
    expect(await countsOf(tasks)).toMatchObject({ cancelled: 10, failed: 0, interrupted: 0 });
  });

  it('each command takes full effect', async () => {
    const tasks = processes.manager();
    const redis = processes.client();
    const later = tasks.define('later').with({ runIn: 3600 });
    const ids = await later.enqueueMany(Array.from({ length: 300 }, () => []));
    const keysOf = (name: string): string => `{jobs}:default:${name}`;
    const command = async (action: 'cancel' | 'retry' | 'run' | 'delete'): Promise<unknown> => {
      const { results } = await tasks.control({ action, ids }, { actor: 'test' });
      return [
        results.filter(({ ok }) => ok).length,
        await redis.llen(keysOf('active')),
        await redis.llen(keysOf('wait')),
        await redis.zcard(keysOf('delayed')),
        await redis.zcard(keysOf('failed')),
        await redis.zcard('{jobs}:~cancelled:default'),
      ];
    };
    await whileFlushing(async () => {
      expect(await command('run')).toEqual([300, 0, 300, 0, 0, 0]);
      expect(await command('cancel')).toEqual([300, 0, 0, 0, 300, 300]);
      expect(await command('retry')).toEqual([300, 0, 300, 0, 0, 0]);
      expect(await command('cancel')).toEqual([300, 0, 0, 0, 300, 300]);
      expect(await command('delete')).toEqual([300, 0, 0, 0, 0, 0]);
    });
    expect(await redis.keys('{jobs}:*:lock')).toEqual([]);
    redis.disconnect();
  });

  it('each schedule is planned and fires', async () => {
    const tasks = processes.manager();
    const runs = new Map<string, number>();
    const names = Array.from({ length: 10 }, (_, n) => `every ${n}`);
    const tick = tasks.task('tick', (name: string) => {
      runs.set(name, (runs.get(name) ?? 0) + 1);
    });
    const states = async (): Promise<{ name: string; nextRunAt: string | null }[]> =>
      (await tasks.describe()).schedules.map(({ name, nextRunAt }) => ({ name, nextRunAt }));
    await whileFlushing(async () => {
      for (const name of names.slice(0, 5))
        tasks.schedule(name, tick, { every: 0.2, args: [name], overlap: true });
      await tasks.start();
      for (const name of names.slice(5))
        tasks.schedule(name, tick, { every: 0.2, args: [name], overlap: true });
      await waitFor(() => names.every((name) => (runs.get(name) ?? 0) >= 3), 60);
      await waitFor(async () => (await states()).length === names.length, 20);
      expect((await states()).every(({ nextRunAt }) => nextRunAt !== null)).toBe(true);
    });
    const before = new Map(runs);
    await waitFor(() => names.every((name) => (runs.get(name) ?? 0) > (before.get(name) ?? 0)), 20);
  }, 120_000);
});
