import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import Koa from 'koa';
import { taskAdmin } from '../../../src/admin.js';
import { createClient } from '../../../src/client/client.js';
import { TaskManager } from '../../../src/manager.js';
import { openBeside } from '../../helpers/beside.js';
import { turnableClock } from '../../helpers/clock.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { serve } from '../../helpers/serve.js';
import { gate, waitFor } from '../../helpers/wait.js';

const by = { actor: 'ada' };

describe('a schedule', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let clock: ReturnType<typeof turnableClock>;
  let managers: TaskManager[];
  beforeEach(() => {
    folder = temporaryFolder();
    clock = turnableClock();
    managers = [];
  });
  afterEach(async () => {
    await Promise.all(managers.map((manager) => manager.stop({ timeout: 0.1 })));
    jest.useRealTimers();
    folder.remove();
  });
  /** Starts a process of the app that defines some schedules. */
  const started = async (names: readonly string[], run = true): Promise<TaskManager> => {
    const manager = new TaskManager({ database: folder.file('tasks.db'), logger: false });
    managers.push(manager);
    for (const name of names) manager.schedule(name, () => {}, { every: 3600 });
    await manager.start({ run });
    return manager;
  };
  const find = async (manager: TaskManager, wanted: string) =>
    (await manager.describe()).schedules.find(({ name }) => name === wanted);
  const remove = (manager: TaskManager, schedule: string): Promise<unknown> =>
    manager.control({ action: 'remove', schedule }, by).then(
      ({ known }) => known,
      (error: { code?: unknown }) => error.code,
    );

  it('is marked and can be removed if no process has defined it for a minute', async () => {
    const before = await started(['old', 'kept']);
    await waitFor(() => find(before, 'old'));
    await before.stop();
    const after = await started(['kept']);
    expect(await find(after, 'old')).toMatchObject({ undefinedSince: null });
    expect(await remove(after, 'old')).toBe('SCHEDULE_DEFINED');
    clock.pass(61);
    await waitFor(async () => (await find(after, 'old'))?.undefinedSince);
    expect(await find(after, 'kept')).toMatchObject({ undefinedSince: null });
    expect(await remove(after, 'kept')).toBe('SCHEDULE_DEFINED');
    const app = new Koa();
    app.use(taskAdmin(after, { auth: null, logger: false }));
    const served = await serve(app);
    const client = createClient(`${served.url}/tasks`);
    expect(
      (await client.schedules()).items.map(({ name, undefinedSince }) => [
        name,
        undefinedSince === null,
      ]),
    ).toEqual([
      ['kept', true],
      ['old', false],
    ]);
    expect(await client.removeSchedule('old')).toEqual({ schedule: 'old', removed: true });
    await served.close();
    expect(await find(after, 'old')).toBeUndefined();
    expect(await remove(after, 'old')).toBe('NOT_FOUND');
  });

  it('is not marked while a running process defines it, even with `run: false`', async () => {
    const web = await started(['nightly'], false);
    const worker = await started(['nightly']);
    await waitFor(() => find(web, 'nightly'));
    await worker.stop();
    const other = await started([]);
    clock.pass(61);
    expect(await find(other, 'nightly')).toMatchObject({ undefinedSince: null });
    expect(await remove(other, 'nightly')).toBe('SCHEDULE_DEFINED');
  });

  it('counts as defined if it is defined after the start', async () => {
    const worker = await started([]);
    worker.schedule('late', () => {}, { every: 3600 });
    await waitFor(() => find(worker, 'late'));
    const other = await started([]);
    clock.pass(61);
    expect(await remove(other, 'late')).toBe('SCHEDULE_DEFINED');
  });

  it('counts as defined even if the process could not store that at once', async () => {
    const worker = await started([]);
    const file = await openBeside(folder.file('tasks.db'));
    await waitFor(() => file.get('SELECT 1 FROM worker'));
    file.exec(
      `CREATE TRIGGER full BEFORE INSERT ON worker BEGIN SELECT RAISE(ABORT, 'no room'); END`,
    );
    worker.schedule('late', () => {}, { every: 3600 });
    await waitFor(() => find(worker, 'late'));
    file.exec('DROP TRIGGER full');
    await waitFor(() => file.get(`SELECT 1 FROM worker WHERE schedules = '["late"]'`));
    const other = await started([]);
    await waitFor(() => Number(file.get('SELECT count(*) AS n FROM worker')?.n) === 2);
    file.close();
    clock.pass(61);
    expect(await remove(other, 'late')).toBe('SCHEDULE_DEFINED');
  });

  it('stays defined if its process is taken off the list while it runs a task', async () => {
    const worker = await started(['nightly']);
    const [begun, end] = [gate(), gate()];
    const task = worker.task('long', async () => {
      begun.open();
      await end.passed;
    });
    await task.enqueue();
    await begun.passed;
    const file = await openBeside(folder.file('tasks.db'));
    file.exec('DELETE FROM worker');
    await waitFor(() => file.get('SELECT 1 FROM worker'));
    file.close();
    end.open();
  });

  it('is planned again if its row is deleted while a process defines it', async () => {
    const worker = await started(['nightly']);
    await waitFor(() => find(worker, 'nightly'));
    const file = await openBeside(folder.file('tasks.db'));
    file.exec('DELETE FROM schedule');
    file.close();
    await waitFor(async () => (await find(worker, 'nightly'))?.nextRunAt);
  });

  it('loses its mark if it is defined again, and returns after it was removed', async () => {
    const before = await started(['nightly']);
    await waitFor(() => find(before, 'nightly'));
    await before.stop();
    const web = await started([]);
    clock.pass(61);
    await waitFor(async () => (await find(web, 'nightly'))?.undefinedSince);
    const worker = await started(['nightly']);
    await waitFor(async () => (await find(web, 'nightly'))?.undefinedSince === null);
    await worker.stop();
    clock.pass(61);
    await waitFor(async () => (await remove(web, 'nightly')) === true);
    await started(['nightly']);
    await waitFor(async () => (await find(web, 'nightly'))?.nextRunAt);
  });
});
