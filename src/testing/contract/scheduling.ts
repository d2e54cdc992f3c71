import type { Suite, Tasks } from '../suite.js';
import { sleep, waitFor } from '../wait.js';

/** Declares the tests of schedules. */
export function describeScheduling({ runner, manager }: Suite): void {
  const by = { actor: 'test' };
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;

  beforeEach(() => {
    tasks = manager();
  });

  it('enqueues a task at each interval of a schedule', async () => {
    const tick = tasks.task('tick', (_word: string) => {});
    tasks.schedule('ticking', tick, { every: 0.1, args: ['x'] });
    await tasks.start();
    const page = await waitFor(async () => {
      const found = await tasks.find({ limit: 10, status: ['success'] });
      return found.total >= 3 && found;
    });
    expect(page.items[0]).toMatchObject({ name: 'tick', source: 'scheduled' });
  });

  it('lists the next run, the last run and the last task of each schedule', async () => {
    const tick = tasks.task('tick', () => 1);
    tasks.schedule('often', tick, { every: 0.1 });
    tasks.schedule('nightly', tick, { cron: '0 3 * * *', timezone: 'Europe/Berlin' });
    await tasks.start();
    const often = await waitFor(async () => {
      const found = (await tasks.describe()).schedules.find(({ name }) => name === 'often');
      return found !== undefined && found.lastTaskId !== null && found;
    });
    expect(often).toMatchObject({ task: 'tick', rule: 'every 0.1', paused: false });
    expect(Date.parse(often.nextRunAt ?? '')).toBeGreaterThan(
      Date.parse(often.lastRunAt ?? '') - 100,
    );
    const nightly = (await tasks.describe()).schedules.find(({ name }) => name === 'nightly');
    expect(nightly).toMatchObject({
      rule: '0 3 * * * Europe/Berlin',
      lastRunAt: null,
      lastTaskId: null,
    });
    expect(nightly?.nextRunAt).toMatch(/T0[12]:00:00.000Z$/);
    const history = await tasks.find({ limit: 10, schedule: 'often' });
    expect(history.items.map(({ source }) => source)).toContain('scheduled');
    expect((await tasks.find({ limit: 10, schedule: 'nightly' })).total).toBe(0);
  });

  it('skips a run if the previous one has not ended, unless overlap is allowed', async () => {
    const releases: (() => void)[] = [];
    const hold = (): Promise<void> =>
      new Promise((resolve) => {
        releases.push(resolve);
      });
    tasks.schedule('alone', tasks.task('slow', hold), { every: 0.05 });
    tasks.schedule('together', tasks.task('wide', hold), { every: 0.05, overlap: true });
    await tasks.start();
    await waitFor(async () => (await tasks.find({ limit: 1, name: 'wide' })).total >= 3);
    await waitFor(async () =>
      (await tasks.describe()).schedules.some(
        ({ name, skipped }) => name === 'alone' && skipped > 1,
      ),
    );
    expect((await tasks.find({ limit: 10, name: 'slow' })).total).toBe(1);
    for (const release of releases) release();
    await waitFor(async () => (await tasks.find({ limit: 1, name: 'slow' })).total >= 2);
    for (const release of releases) release();
  });

  it('pauses, resumes and runs a schedule on command', async () => {
    const tick = tasks.task('tick', () => 1);
    tasks.schedule('ticking', tick, { every: 0.05 });
    tasks.schedule('nightly', tick, { cron: '0 3 * * *' });
    await tasks.start();
    await waitFor(async () => (await tasks.find({ limit: 1, schedule: 'ticking' })).total >= 1);
    expect(await tasks.control({ action: 'pause', schedule: 'ticking' }, by)).toMatchObject({
      known: true,
    });
    await sleep(0.1);
    const { total } = await tasks.find({ limit: 1, schedule: 'ticking' });
    await sleep(0.3);
    expect((await tasks.find({ limit: 1, schedule: 'ticking' })).total).toBe(total);
    expect((await tasks.describe()).schedules.find(({ name }) => name === 'ticking')).toMatchObject(
      { paused: true, nextRunAt: null },
    );
    await tasks.control({ action: 'resume', schedule: 'ticking' }, by);
    await waitFor(async () => (await tasks.find({ limit: 1, schedule: 'ticking' })).total > total);
    const outcome = await tasks.control({ action: 'run', schedule: 'nightly' }, by);
    expect(outcome).toMatchObject({
      known: true,
      results: [{ ok: true, task: { name: 'tick', source: 'scheduled' } }],
    });
    expect((await tasks.find({ limit: 10, schedule: 'nightly' })).total).toBe(1);
  });

  it('rejects a command for an unknown schedule', async () => {
    const tick = tasks.task('tick', () => 1);
    tasks.schedule('nightly', tick, { cron: '0 3 * * *' });
    await tasks.start();
    await waitFor(async () => (await tasks.describe()).schedules.length === 1);
    for (const action of ['run', 'pause', 'resume'] as const)
      await expect(tasks.control({ action, schedule: 'nightyl' }, by)).rejects.toThrow(
        expect.objectContaining({ code: 'NOT_FOUND' }),
      );
    expect((await tasks.describe()).schedules).toMatchObject([
      { name: 'nightly', paused: false, lastRunAt: null },
    ]);
  });

  it('pauses a queue that has no tasks yet', async () => {
    await tasks.start();
    expect(await tasks.control({ action: 'pause', queue: 'later' }, by)).toMatchObject({
      known: true,
    });
    await tasks.task('tick', () => 1, { queue: 'later' }).enqueue();
    await sleep(0.3);
    expect((await tasks.find({ queue: 'later' })).items).toMatchObject([{ status: 'pending' }]);
    await tasks.control({ action: 'resume', queue: 'later' }, by);
    await waitFor(
      async () => (await tasks.find({ queue: 'later', status: 'success' })).total === 1,
    );
  });

  it('starts a schedule that is added after the start', async () => {
    const tick = tasks.task('tick', () => 1);
    await tasks.start();
    tasks.schedule('late', tick, { every: 0.05 });
    await waitFor(async () => (await tasks.find({ limit: 1, schedule: 'late' })).total >= 2);
  });
}
