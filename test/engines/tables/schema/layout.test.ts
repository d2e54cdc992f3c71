import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openDatabase } from '../../../../src/engines/tables/schema/database.js';
import { TaskManager } from '../../../../src/manager.js';
import { temporaryFolder } from '../../../helpers/folder.js';
import { expectSums } from '../../../helpers/sums.js';
import { waitFor } from '../../../helpers/wait.js';

const dump = (layout: number): string => readFileSync(new URL(`./layouts/${layout}.sql`, import.meta.url), 'utf8');

describe('a database file of an earlier layout', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;
  const opened: TaskManager[] = [];
  beforeEach(() => {
    folder = temporaryFolder();
    path = folder.file('tasks.db');
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((tasks) => tasks.stop({ timeout: 1 })));
    folder.remove();
  });

  const load = async (layout: number): Promise<void> => {
    const older = await openDatabase(path);
    older.exec(dump(layout));
    older.close();
  };
  const open = (database = path): TaskManager => {
    const tasks = new TaskManager({ database, logger: false });
    opened.push(tasks);
    return tasks;
  };
  const schemaOf = async (database: string): Promise<unknown[]> => {
    const file = await openDatabase(database);
    const objects = file.all('SELECT type, name, sql FROM sqlite_master ORDER BY type, name');
    file.close();
    return objects.map((each) => ({ ...each }));
  };

  it.each([2, 5])('has the tables and indexes of a new file once layout %i is brought to the present one', async (layout) => {
    await load(layout);
    await open().describe();
    const fresh = folder.file('fresh.db');
    await open(fresh).describe();
    expect(await schemaOf(path)).toEqual(await schemaOf(fresh));
  });

  it('keeps every task of layout 5, with its attempts, log, result and links', async () => {
    await load(5);
    const tasks = open();
    const { items } = await tasks.find({ limit: 20, sort: 'createdAt' });
    expect(items.map(({ name, status, queue, priority, tags }) => [name, status, queue, priority, tags])).toEqual([
      ['add', 'success', 'default', 0, { tenant: '7' }],
      ['flaky', 'failed', 'default', 0, {}],
      ['bulk', 'success', 'bulk', 0, {}],
      ['add', 'pending', 'default', 5, { tenant: '7' }],
      ['add', 'cancelled', 'default', 0, { tenant: '7' }],
      ['add', 'success', 'default', 0, { tenant: '7' }],
      ['bulk', 'pending', 'bulk', 0, {}],
      ['later', 'pending', 'default', 0, {}],
      ['hang', 'running', 'default', 0, {}],
    ]);
    const [first, flaky, , , , again, , later] = await Promise.all(items.map(({ id }) => tasks.get(id)));
    expect(first).toMatchObject({ args: [1, 2], result: { sum: 3 }, rerunAs: again?.id, attempts: [{ number: 1, status: 'success' }] });
    expect(again).toMatchObject({ rerunOf: first?.id, duration: 0.001 });
    expect(flaky?.attempts.map(({ number, status, error }) => [number, status, error?.name, error?.message])).toEqual([
      [1, 'failed', 'RangeError', 'no luck'],
      [2, 'failed', 'RangeError', 'no luck'],
    ]);
    expect(flaky?.stack).toMatch(/^RangeError: no luck\n/);
    expect(flaky?.logs.map(({ n, attempt, message, fields }) => [n, attempt, message, fields])).toEqual([
      [1, 1, 'trying', { n: 1 }],
      [2, 2, 'trying', { n: 1 }],
    ]);
    expect(later).toMatchObject({ attempt: 1, maxAttempts: 4, runAt: '2099-01-01T00:00:00.000Z', error: { message: 'not yet' } });
  });

  it('keeps the counts, search, failures, queues, schedules and shared state of layout 5', async () => {
    await load(5);
    const tasks = open();
    expect((await tasks.find({ limit: 10, tag: ['tenant:7'] })).total).toBe(4);
    expect((await tasks.find({ limit: 10, q: 'luck' })).items.map(({ name }) => name)).toEqual(['flaky']);
    const { counts, functions, durations } = await tasks.aggregate('metrics', { from: new Date(0) });
    expect(counts).toEqual({ pending: 3, running: 1, success: 4, failed: 1, interrupted: 0, cancelled: 1 });
    expect(functions.map(({ name, counts: of }) => [name, of.pending, of.success])).toEqual([
      ['add', 1, 2],
      ['bulk', 1, 2],
      ['flaky', 0, 0],
      ['hang', 0, 0],
      ['later', 1, 0],
    ]);
    expect(durations).toMatchObject({ min: 0.001, max: 0.006 });
    const { items: failures } = await tasks.aggregate('failures', { limit: 10 });
    expect(failures.map(({ name, count, failed, error }) => [name, count, failed, error])).toEqual([
      ['flaky', 1, 1, { name: 'RangeError', message: 'no luck' }],
    ]);
    const { queues, schedules } = await tasks.describe();
    const pause = { by: 'ada', reason: 'a dump' };
    expect(queues).toEqual([
      { name: 'bulk', paused: true, pause: expect.objectContaining(pause) },
      { name: 'default', paused: false, pause: null },
    ]);
    expect(schedules.map(({ name, task, rule, paused }) => [name, task, rule, paused])).toEqual([
      ['hourly', 'add', 'every 3600', false],
      ['nightly', 'bulk', '0 3 * * * UTC', true],
    ]);
    expect(schedules[1]?.pause).toMatchObject(pause);
    expect(await tasks.store.get('session:1')).toEqual({ a: 1 });
    expect((await tasks.store.page('audit')).items).toEqual([{ event: 'login' }]);
    const file = await openDatabase(path);
    expectSums(file);
    expect(file.get('PRAGMA integrity_check')).toEqual({ integrity_check: 'ok' });
    expect(file.all('SELECT count(*) AS n FROM tombstone')).toEqual([{ n: 1 }]);
    file.close();
  });

  it('continues with the tasks of layout 5: takes over from its dead process, runs what is ready, honours its idempotency keys', async () => {
    await load(5);
    const tasks = open();
    const add = tasks.define<[a: number, b: number]>('add');
    let ran = 0;
    tasks.task('hang', () => (ran += 1));
    tasks.task('bulk', () => (ran += 1));
    const [held] = (await tasks.find({ limit: 1, name: 'add', sort: 'createdAt' })).items;
    expect(await add.with({ idempotencyKey: 'once' }).enqueue(1, 2)).toBe(held?.id);
    await tasks.start();
    await waitFor(async () => (await tasks.find({ limit: 1, name: 'hang', status: ['success'] })).total === 1);
    await tasks.control({ action: 'resume', queue: 'bulk' }, { actor: 'test' });
    await waitFor(async () => (await tasks.find({ limit: 1, name: 'bulk', status: ['success'] })).total === 2);
    expect(ran).toBe(2);
    expect((await tasks.aggregate('workers')).length).toBe(1);
    const copy = await openDatabase(`${path}.layout-5`);
    expect(copy.get('PRAGMA user_version')).toEqual({ user_version: 5 });
    expect(copy.get('SELECT count(*) AS n FROM task')).toEqual({ n: 9 });
    copy.close();
  });
});
