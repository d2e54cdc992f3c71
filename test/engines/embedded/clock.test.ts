import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Reader } from '../../../src/engines/tables/read/reader.js';
import { Writer } from '../../../src/engines/tables/write/writer.js';
import { TaskManager } from '../../../src/manager.js';
import { taskContext } from '../../../src/tasks/context.js';
import type { ScheduleState } from '../../../src/tasks/queue-state.js';
import { openBeside } from '../../helpers/beside.js';
import { quickTimers, turnableClock } from '../../helpers/clock.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { sleep, waitFor } from '../../helpers/wait.js';

const hour = 3600;

describe('the embedded engine', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let clock: ReturnType<typeof turnableClock>;
  let tasks: TaskManager;
  beforeEach(() => {
    folder = temporaryFolder();
    clock = turnableClock();
    // Waiting timers and idle workers check the clock at this interval.
    quickTimers('setTimeout', 5000);
    tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
  });
  afterEach(async () => {
    await tasks.stop({ timeout: 0.1 });
    jest.restoreAllMocks();
    jest.useRealTimers();
    folder.remove();
  });
  const success = (id: string, seconds?: number) =>
    waitFor(async () => (await tasks.get(id))?.status === 'success' && tasks.get(id), seconds);
  const schedule = async (wanted: string): Promise<ScheduleState | undefined> =>
    (await tasks.describe()).schedules.find(({ name }) => name === wanted);

  it('delays no new task if the clock is set back an hour', async () => {
    let failed = false;
    const noop = tasks.task('noop', () => 1);
    const flaky = tasks.task(
      'flaky',
      () => {
        if (failed) return;
        failed = true;
        clock.pass(-hour);
        throw new Error('again');
      },
      { retries: 1, delay: 0.05 },
    );
    await tasks.start();
    const first = await noop.enqueue();
    await success(first);
    const second = await flaky.enqueue();
    const third = await noop.enqueue();
    await waitFor(async () => (await tasks.get(second))?.attempts.length === 1);
    clock.pass(0.1);
    for (const id of [second, third])
      expect((await success(id))?.duration).toBeGreaterThanOrEqual(0);
    expect((await tasks.find({ limit: 3 })).items.map(({ id }) => id)).toEqual([
      third,
      second,
      first,
    ]);
    expect((await tasks.aggregate('metrics', {})).durations.min).toBe(0);
  });

  it('starts delayed tasks in time if the clock is set back and forth', async () => {
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    const id = await noop.with({ runAt: new Date(Date.now() + 1000) }).enqueue();
    clock.pass(-hour);
    // With this commit, the worker reads that the other task is due in an hour.
    await success(await noop.enqueue());
    await sleep(0.5);
    clock.pass(hour + 1);
    await success(id);
  });

  it('shifts retries and delays, but no absolute time, if the clock is set back', async () => {
    const noop = tasks.task('noop', () => 1);
    const flaky = tasks.task(
      'flaky',
      () => {
        if (taskContext().attempt === 1) throw new Error('again');
      },
      { retries: 1, delay: 2 },
    );
    await tasks.start();
    const runAt = new Date(Date.now() + 60_000);
    const [retried, delayed, absolute] = [
      await flaky.enqueue(),
      await noop.with({ runIn: 2, deadline: 30 }).enqueue(),
      await noop.with({ runAt }).enqueue(),
    ];
    await waitFor(async () => (await tasks.get(retried))?.attempts.length === 1);
    // An idle worker notices the jump without a commit that wakes it.
    await sleep(0.5);
    clock.pass(-hour);
    const startsAgain = async (id: string): Promise<boolean> =>
      Date.parse((await tasks.get(id))?.runAt ?? '') - Date.now() <= 2000;
    for (const id of [retried, delayed]) await waitFor(() => startsAgain(id));
    clock.pass(2);
    for (const id of [retried, delayed]) await success(id);
    expect(await tasks.get(absolute)).toMatchObject({
      status: 'pending',
      runAt: runAt.toISOString(),
    });
    // The deadline moves with the delay. Otherwise it would be an hour too late.
    const late = await noop.with({ runIn: 60, deadline: 1 }).enqueue();
    clock.pass(-hour);
    await waitFor(
      async () => Date.parse((await tasks.get(late))?.runAt ?? '') <= Date.now() + 60_000,
    );
    clock.pass(62);
    await waitFor(async () => (await tasks.get(late))?.status === 'failed');
  });

  it('shifts delays at the start if the clock was set back before it', async () => {
    const start = async () => {
      const noop = tasks.task('noop', () => 1);
      await tasks.start();
      return noop;
    };
    const id = await (await start()).with({ runIn: 60 }).enqueue();
    await tasks.stop();
    clock.pass(-hour);
    tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
    await start();
    await waitFor(
      async () => Date.parse((await tasks.get(id))?.runAt ?? '') <= Date.now() + 60_000,
    );
  });

  it('shifts retries, delays and intervals if the clock is set back by seconds', async () => {
    const jump = 40;
    const lessThanTheJump = jump - 3;
    const noop = tasks.task('noop', () => 1);
    const flaky = tasks.task(
      'flaky',
      () => {
        if (taskContext().attempt === 1) throw new Error('again');
      },
      { retries: 1, delay: 2 },
    );
    tasks.schedule('often', noop, { every: 2 });
    await tasks.start();
    const [retried, delayed] = [await flaky.enqueue(), await noop.with({ runIn: 2 }).enqueue()];
    await waitFor(
      async () => (await tasks.get(retried))?.attempts.length === 1 && schedule('often'),
    );
    clock.pass(-jump);
    const isNear = (at: string | null | undefined): boolean =>
      Date.parse(at ?? '') - Date.now() <= 2000;
    for (const id of [retried, delayed])
      await waitFor(async () => isNear((await tasks.get(id))?.runAt), lessThanTheJump);
    await waitFor(async () => isNear((await schedule('often'))?.nextRunAt), lessThanTheJump);
    clock.pass(2);
    for (const id of [retried, delayed]) await success(id, lessThanTheJump);
    await waitFor(
      async () => (await tasks.find({ limit: 1, schedule: 'often' })).total > 0,
      lessThanTheJump,
    );
  });

  it('does not repeat a daily run if the clock is set back after it', async () => {
    tasks.schedule(
      'daily',
      tasks.task('noop', () => 1),
      { every: 24 * hour },
    );
    await tasks.start();
    await waitFor(() => schedule('daily'));
    clock.pass(24 * hour);
    const ran = (): Promise<boolean> =>
      tasks.find({ schedule: 'daily' }).then(({ items }) => items[0]?.status === 'success');
    await waitFor(ran);
    const planned = Date.parse((await schedule('daily'))?.nextRunAt ?? '');
    clock.pass(-15);
    const restarted = await waitFor(async () => {
      const next = Date.parse((await schedule('daily'))?.nextRunAt ?? '');
      return next < planned && next;
    });
    expect(restarted - Date.now()).toBeGreaterThan(23 * hour * 1000);
    expect((await tasks.find({ schedule: 'daily' })).total).toBe(1);
  });

  it('does not shift a delay that has changed meanwhile', async () => {
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    const id = await noop.with({ runIn: 60 }).enqueue();
    const file = await openBeside(folder.file('tasks.db'));
    const read = new Reader(file).futureDelays(0, 10);
    expect(read).toHaveLength(1);
    const at = Date.now();
    const writer = new Writer(file);
    const restart = (delays: typeof read): unknown =>
      writer.apply({
        writes: [{ kind: 'restartDelays', delays, at: at - 5000 }],
        claim: undefined,
        at,
        wanted: [],
      }).outcomes[0];
    expect(restart(read.map(([rowid, from]) => [rowid, from - 1]))).toBeUndefined();
    expect(Date.parse((await tasks.get(id))?.runAt ?? '') - at).toBeGreaterThan(59_000);
    restart(read);
    expect(Date.parse((await tasks.get(id))?.runAt ?? '') - at).toBe(55_000);
    restart(read);
    expect(Date.parse((await tasks.get(id))?.runAt ?? '') - at).toBe(55_000);
    file.close();
  });

  it('runs a schedule at most once if the clock jumps ahead over several runs', async () => {
    const noop = tasks.task('noop', () => 1);
    tasks.schedule('good', noop, { every: hour });
    tasks.schedule('skips', noop, { every: hour, catchUp: false });
    await tasks.start();
    const [good, skips] = [
      await waitFor(() => schedule('good')),
      await waitFor(() => schedule('skips')),
    ];
    clock.pass(10.5 * hour);
    const after = await waitFor(async () => {
      const now = await schedule('good');
      return now && now.lastTaskId !== null && (await schedule('skips'))?.skipped === 1 && now;
    });
    // The interval keeps its phase.
    expect(Date.parse(after.nextRunAt ?? '') - Date.parse(good.nextRunAt ?? '')).toBe(
      10 * hour * 1000,
    );
    expect(
      Date.parse((await schedule('skips'))?.nextRunAt ?? '') - Date.parse(skips.nextRunAt ?? ''),
    ).toBe(10 * hour * 1000);
    expect((await tasks.find({ limit: 10, schedule: 'good' })).total).toBe(1);
    expect((await tasks.find({ limit: 10, schedule: 'skips' })).total).toBe(0);
    clock.pass(0.5 * hour);
    await waitFor(async () => (await tasks.find({ limit: 10, schedule: 'skips' })).total === 1);
  });

  it('shifts an interval if the clock is set back', async () => {
    tasks.schedule(
      'often',
      tasks.task('noop', () => 1),
      { every: 2 },
    );
    await tasks.start();
    await waitFor(() => schedule('often'));
    clock.pass(-hour);
    await waitFor(async () => {
      const now = await schedule('often');
      return now && Date.parse(now.nextRunAt ?? '') <= Date.now() + 2000;
    });
    clock.pass(2);
    await waitFor(async () => (await tasks.find({ limit: 1, schedule: 'often' })).total > 0);
  });

  it('shifts an interval at the start if the clock was set back before it', async () => {
    const start = async (): Promise<void> => {
      tasks.schedule(
        'often',
        tasks.task('noop', () => 1),
        { every: 60 },
      );
      await tasks.start();
      await waitFor(() => schedule('often'));
    };
    await start();
    await tasks.stop();
    clock.pass(-hour);
    tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
    await start();
    await waitFor(
      async () => Date.parse((await schedule('often'))?.nextRunAt ?? '') <= Date.now() + 60_000,
    );
  });

  it('keeps the phase of an interval across restarts', async () => {
    tasks.schedule(
      'daily',
      tasks.task('noop', () => 1),
      { every: 24 * hour },
    );
    await tasks.start();
    const before = await waitFor(() => schedule('daily'));
    for (let deploy = 0; deploy < 3; deploy++) {
      await tasks.stop();
      clock.pass(7 * hour);
      tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
      tasks.schedule(
        'daily',
        tasks.task('noop', () => 1),
        { every: 24 * hour },
      );
      await tasks.start();
      await sleep(0.1);
    }
    expect(await schedule('daily')).toMatchObject({
      nextRunAt: before.nextRunAt,
      lastTaskId: null,
    });
    await tasks.stop();
    clock.pass(4 * hour);
    tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
    tasks.schedule(
      'daily',
      tasks.task('noop', () => 1),
      { every: 24 * hour },
    );
    await tasks.start();
    await waitFor(async () => (await tasks.find({ limit: 10, schedule: 'daily' })).total === 1);
    expect(
      Date.parse((await schedule('daily'))?.nextRunAt ?? '') - Date.parse(before.nextRunAt ?? ''),
    ).toBe(24 * hour * 1000);
  });

  it('plans a schedule again if its rule has changed', async () => {
    tasks.schedule(
      'report',
      tasks.task('noop', () => 1),
      { cron: '0 3 * * *' },
    );
    await tasks.start();
    expect((await waitFor(() => schedule('report'))).nextRunAt).toBe('2026-03-02T03:00:00.000Z');
    await tasks.stop();
    tasks = new TaskManager({ database: folder.file('tasks.db'), logger: false });
    tasks.schedule(
      'report',
      tasks.task('noop', () => 1),
      { cron: '0 5 * * *' },
    );
    await tasks.start();
    await waitFor(async () => (await schedule('report'))?.nextRunAt === '2026-03-02T05:00:00.000Z');
  });
});
