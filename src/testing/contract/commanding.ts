import type { CommandResult, Outcome } from '../../tasks/commands.js';
import type { Suite, Tasks } from '../suite.js';
import { gate, waitFor } from '../wait.js';
import { movedTo } from './cursor.js';

/** Declares the tests of commands that an engine applies to many tasks at once. */
export function describeCommanding({ runner, manager }: Suite): void {
  const by = { actor: 'test' };
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const countOf = async (query: Parameters<Tasks['find']>[0]): Promise<number> =>
    (await tasks.find(query)).total;
  const said = ({ results }: Outcome): unknown[] =>
    results.map((result: CommandResult) => (result.ok ? result.id : [result.id, result.code]));

  beforeEach(() => {
    tasks = manager();
  });

  it('applies a command to all matching tasks that allow it, oldest first', async () => {
    const [mail, other] = [
      tasks.define<[n: number]>('mail', { tags: { tenant: '7' } }),
      tasks.define('other'),
    ];
    const ids = await mail.enqueueMany([[1], [2], [3]]);
    const kept = [await other.enqueue(), await mail.with({ tags: { tenant: '8' } }).enqueue(4)];
    const [, second = ''] = ids;
    await tasks.control({ action: 'cancel', ids: [second] }, by);
    const outcome = await tasks.control(
      { action: 'cancel', filter: { name: 'mail', tag: ['tenant:7'] } },
      by,
    );
    expect(said(outcome)).toEqual([ids[0], ids[2]]);
    expect(outcome.found).toEqual({ count: 2, relation: 'eq' });
    for (const id of ids) expect((await tasks.get(id))?.status).toBe('cancelled');
    for (const id of kept) expect((await tasks.get(id))?.status).toBe('pending');
    expect(
      said(await tasks.control({ action: 'delete', filter: { status: ['success'] } }, by)),
    ).toEqual([]);
    expect(said(await tasks.control({ action: 'delete', filter: 'all' }, by))).toEqual(ids);
    expect(await countOf({ limit: 1 })).toBe(2);
  });

  it('counts the matching tasks in a dry run and changes nothing', async () => {
    const ids = await tasks.define('mail').enqueueMany([[], []]);
    const [first = ''] = ids;
    const unknown = '01900000-0000-7000-8000-000000000000';
    const dry = { ...by, dryRun: true };
    const all = await tasks.control({ action: 'cancel', filter: { name: 'mail' } }, dry);
    expect([said(all), all.found]).toEqual([ids, { count: 2, relation: 'eq' }]);
    expect(said(await tasks.control({ action: 'retry', filter: 'all' }, dry))).toEqual([]);
    expect(said(await tasks.control({ action: 'cancel', ids: [unknown, first] }, dry))).toEqual([
      [unknown, 'TASK_NOT_FOUND'],
      first,
    ]);
    expect(said(await tasks.control({ action: 'delete', ids: [first] }, dry))).toEqual([
      [first, 'TASK_STATE_CONFLICT'],
    ]);
    expect(await countOf({ limit: 1, status: ['pending'] })).toBe(2);
  });

  it('changes nothing if a filter matches another number of tasks than expected', async () => {
    const mail = tasks.define('mail');
    await mail.enqueueMany([[], []]);
    const filter = { name: 'mail' };
    const { found } = await tasks.control({ action: 'cancel', filter }, { ...by, dryRun: true });
    await mail.enqueue();
    const changed = expect.objectContaining({ code: 'COUNT_CHANGED' });
    await expect(
      tasks.control({ action: 'cancel', filter }, { ...by, expect: found?.count ?? 0 }),
    ).rejects.toThrow(changed);
    expect(await countOf({ limit: 1, status: ['pending'] })).toBe(3);
    expect(
      (await tasks.control({ action: 'cancel', filter }, { ...by, expect: 3 })).results,
    ).toHaveLength(3);
  });

  it('applies a command to the oldest 10,000 matching tasks and returns the total', async () => {
    const mail = tasks.define<[n: number]>('mail');
    for (let part = 0; part < 11; part++)
      await mail.enqueueMany(Array.from({ length: 1000 }, (_, n) => [n]));
    const oldest = { limit: 1, sort: 'createdAt' } as const;
    // An engine may answer with a part of the tasks while it reads them, and then sets `limited`.
    await waitFor(async () => !(await tasks.find(oldest)).limited);
    const { items } = await tasks.find(oldest);
    const outcome = await tasks.control({ action: 'cancel', filter: { name: 'mail' } }, by);
    expect(outcome.found).toEqual({ count: 11_000, relation: 'eq' });
    expect(outcome.results).toHaveLength(10_000);
    expect(outcome.results[0]?.id).toBe(items[0]?.id);
    expect(await countOf({ limit: 1, status: ['pending'] })).toBe(1000);
  }, 120_000);

  it('spreads the retries of many tasks over a period', async () => {
    const ids = await tasks.define('mail').enqueueMany([[], [], [], []]);
    await tasks.control({ action: 'cancel', ids }, by);
    const { results } = await tasks.control({ action: 'retry', ids, spread: 60 }, by);
    const times = results.map((result) => (result.ok ? Date.parse(result.task.runAt) : 0));
    expect(times.map((time) => time - (times[0] ?? 0))).toEqual([0, 15_000, 30_000, 45_000]);
    expect(await countOf({ limit: 1, status: ['pending'] })).toBe(4);
  });

  it('counts failures by group, with the first and last time and the latest task', async () => {
    let broken = true;
    const charge = tasks.task('charge', (order: number) => {
      if (broken) throw new RangeError(`order ${order} is too large`);
    });
    tasks.task('other', () => {
      throw new Error('no');
    });
    const began = Date.now();
    await tasks.start();
    const ids = await charge.enqueueMany([[11], [222], [3333]]);
    await waitFor(async () => (await countOf({ limit: 1, status: ['failed'] })) === 3);
    const { items, nextCursor } = await tasks.aggregate('failures', { limit: 10 });
    expect(items).toHaveLength(1);
    expect(nextCursor).toBeNull();
    const [group] = items;
    expect(group).toMatchObject({
      name: 'charge',
      error: { name: 'RangeError' },
      count: 3,
      failed: 3,
    });
    expect(group?.error.message).toMatch(/^order \d+ is too large$/);
    expect(ids).toContain(group?.lastTaskId);
    const first = Date.parse(group?.first ?? '');
    const last = Date.parse(group?.last ?? '');
    expect(first).toBeGreaterThanOrEqual(began);
    expect(last).toBeGreaterThanOrEqual(first);
    expect(group?.trend).toHaveLength(24);
    expect(group?.trend.reduce((sum, n) => sum + n, 0)).toBe(3);
    expect(await countOf({ limit: 1, fingerprint: group?.fingerprint })).toBe(3);

    broken = false;
    await tasks.control({ action: 'retry', ids: ids.slice(0, 2) }, by);
    await waitFor(async () => (await countOf({ limit: 1, status: ['success'] })) === 2);
    await tasks.control({ action: 'delete', ids: ids.slice(2) }, by);
    expect((await tasks.aggregate('failures', { limit: 10 })).items[0]).toMatchObject({
      count: 3,
      failed: 0,
    });
    expect(await countOf({ limit: 1, fingerprint: group?.fingerprint })).toBe(0);
  });

  it('lists failure groups newest first, in pages, by task name and by time', async () => {
    const bad = tasks.task('bad', (message: string) => {
      throw new Error(message);
    });
    const worse = tasks.task('worse', () => {
      throw new Error('x');
    });
    await tasks.start();
    const failed = async (id: string) =>
      waitFor(async () => (await tasks.get(id))?.status === 'failed');
    for (const message of ['a', 'b', 'c']) await failed(await bad.enqueue(message));
    await failed(await worse.enqueue());
    const messages = async (query: {
      name?: string;
      from?: string | undefined;
    }): Promise<string[]> => {
      const all: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await tasks.aggregate('failures', { limit: 2, ...query, cursor });
        all.push(...page.items.map(({ name, error }) => `${name} ${error.message}`));
        cursor = page.nextCursor ?? undefined;
      } while (cursor !== undefined);
      return all;
    };
    expect(await messages({})).toEqual(['worse x', 'bad c', 'bad b', 'bad a']);
    expect(await messages({ name: 'bad' })).toEqual(['bad c', 'bad b', 'bad a']);
    const { items, nextCursor } = await tasks.aggregate('failures', { limit: 2 });
    expect(await messages({ from: items[1]?.last })).toEqual(['worse x', 'bad c']);
    for (const cursor of ['x', movedTo(nextCursor, 'x')])
      await expect(tasks.aggregate('failures', { limit: 1, cursor })).rejects.toThrow(
        expect.objectContaining({ code: 'INVALID_CURSOR' }),
      );
  });

  it('lists the processes that use the store, with their slots and running tasks', async () => {
    const { passed, open } = gate();
    const slow = tasks.task('slow', () => passed);
    await tasks.start();
    const id = await slow.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'running');
    const worker = await waitFor(async () =>
      (await tasks.aggregate('workers')).find(({ running }) => running === 1),
    );
    expect(worker.pid).toBe(process.pid);
    expect(worker.slots).toBeGreaterThan(0);
    expect(worker.host).toMatch(/./);
    expect(worker.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(worker.lastSign).toBeLessThan(5);
    expect(Date.parse(worker.startedAt)).toBeLessThanOrEqual(Date.now());
    open();
    await waitFor(async () =>
      (await tasks.aggregate('workers')).every(({ running }) => running === 0),
    );
  });
}
