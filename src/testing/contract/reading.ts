import type { SortKey } from '../../tasks/engine-queries.js';
import type { FindQuery } from '../../tasks/source.js';
import { type TaskStatus, type TaskSummary, taskStatuses } from '../../tasks/types.js';
import type { Suite, Tasks } from '../suite.js';
import { sleep, waitFor } from '../wait.js';
import { movedTo } from './cursor.js';

/** Declares the tests of how an engine finds, counts and watches tasks. */
export function describeReading({ runner, manager, ended: endedOf }: Suite): void {
  const by = { actor: 'test' };
  const { it, beforeEach, expect } = runner;
  let tasks: Tasks;
  const ended = (id: string, status: TaskStatus) => endedOf(tasks, id, status);

  beforeEach(() => {
    tasks = manager();
  });

  it('returns the newest row of each task that changed since a revision', async () => {
    const noop = tasks.task('noop', () => {});
    const before = await noop.enqueue();
    const { rev } = await tasks.describe();
    const id = await noop.enqueue();
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    const controller = new AbortController();
    for await (const changes of tasks.watch(rev, controller.signal)) {
      expect(changes.upserts.map((task) => [task.id, task.status])).toEqual([[id, 'cancelled']]);
      expect(changes.rev).toBeGreaterThan(rev + 1);
      expect(changes).toMatchObject({ removed: [], dropped: 0 });
      break;
    }
    expect(before).not.toBe(id);
  });

  it('ends a watch when its signal aborts or the engine stops', async () => {
    const drain = async (signal: AbortSignal): Promise<string> => {
      for await (const _changes of tasks.watch((await tasks.describe()).rev, signal))
        return 'changed';
      return 'ended';
    };
    const controller = new AbortController();
    const [first, second] = [drain(controller.signal), drain(new AbortController().signal)];
    await sleep(0.05);
    controller.abort();
    expect(await first).toBe('ended');
    await tasks.stop();
    expect(await second).toBe('ended');
  });

  it('reports each change once to a watcher, even if writes continue', async () => {
    const noop = tasks.define('noop');
    const { rev } = await tasks.describe();
    const controller = new AbortController();
    const notified: string[] = [];
    const watching = (async () => {
      for await (const changes of tasks.watch(rev, controller.signal))
        notified.push(...changes.upserts.map(({ id }) => id));
    })();
    const ids: string[] = [];
    for (let n = 0; n < 400; n++) ids.push(await noop.enqueue());
    await waitFor(() => notified.length >= ids.length);
    controller.abort();
    await watching;
    expect(notified).toEqual(ids);
  });

  it('reports the newest 500 changed rows and the number of dropped ones', async () => {
    const noop = tasks.define('noop');
    const { rev } = await tasks.describe();
    const ids = await noop.enqueueMany(Array.from({ length: 620 }, () => []));
    for await (const changes of tasks.watch(rev, new AbortController().signal)) {
      expect(changes.dropped).toBe(120);
      expect(changes.upserts.map((task) => task.id)).toEqual(ids.slice(120));
      expect(changes.revs.upserts).toEqual([...changes.revs.upserts].sort((a, b) => a - b));
      expect([changes.revs.upserts.length, changes.revs.upserts.at(-1)]).toEqual([
        500,
        changes.rev,
      ]);
      break;
    }
  });

  it('pages through tasks newest first, by state and name, without repeats or gaps', async () => {
    const a = tasks.task('a', () => 1);
    const b = tasks.task('b', () => {
      throw new Error('x');
    });
    const ids: string[] = [];
    for (let n = 0; n < 7; n++) ids.push(await a.enqueue(), await b.enqueue());
    await tasks.start();
    await waitFor(
      async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0,
    );
    const pages = async (query: { status?: TaskStatus[]; name?: string }): Promise<string[]> => {
      const found: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await tasks.find({ ...query, limit: 3, cursor });
        found.push(...page.items.map((task) => task.id));
        cursor = page.nextCursor ?? undefined;
      } while (cursor !== undefined);
      return found;
    };
    expect(await pages({})).toEqual([...ids].reverse());
    expect(await pages({ status: ['failed'] })).toEqual(
      ids.filter((_, n) => n % 2 === 1).reverse(),
    );
    expect(await pages({ status: ['failed', 'success'] })).toEqual([...ids].reverse());
    expect(await pages({ name: 'a' })).toEqual(ids.filter((_, n) => n % 2 === 0).reverse());
    expect(await pages({ name: 'a', status: ['failed'] })).toEqual([]);
    expect(await tasks.find({ limit: 1, name: 'b' })).toMatchObject({
      total: 7,
      totalRelation: 'eq',
    });
  });

  it('counts tasks by state and measures durations within 2.2 %', async () => {
    const timed = tasks.task('timed', (ms: number) => sleep(ms / 1000));
    const bad = tasks.task('bad', () => {
      throw new Error('x');
    });
    await tasks.start();
    const ids = await timed.with({ queue: 'slow' }).enqueueMany([[50], [60], [300]]);
    await Promise.all(ids.map((id) => ended(id, 'success')));
    await ended(await bad.enqueue(), 'failed');
    const durations = (await Promise.all(ids.map((id) => tasks.get(id))))
      .map((task) => task?.duration ?? 0)
      .sort((x, y) => x - y);
    const metrics = await tasks.aggregate('metrics', {});
    expect(metrics.counts).toEqual({
      pending: 0,
      running: 0,
      success: 3,
      failed: 1,
      interrupted: 0,
      cancelled: 0,
    });
    expect(metrics.successRate).toBe(0.75);
    const { durations: measured } = metrics.functions.find((each) => each.name === 'timed') ?? {
      durations: undefined,
    };
    expect(measured).toMatchObject({ min: durations[0], max: durations[2] });
    // Quantiles are accurate to 2.2 %, and whole milliseconds.
    const middle = durations[1] ?? 0;
    expect(Math.abs((measured?.p50 ?? 0) - middle)).toBeLessThan(0.022 * middle + 0.0015);
    expect(metrics.queues.map((queue) => [queue.name, queue.counts.success])).toEqual([
      ['default', 0],
      ['slow', 3],
    ]);
    expect(metrics.series.reduce((sum, point) => sum + point.success + point.failed, 0)).toBe(4);
    const recent = await tasks.aggregate('metrics', { from: '-60s' });
    expect(recent.counts).toMatchObject({ success: 3, failed: 1 });
    expect((await tasks.aggregate('metrics', { from: '-2h', to: '-1h' })).successRate).toBeNull();
    expect(await tasks.aggregate('statsSnapshot')).toMatchObject({
      running: 0,
      pending: 0,
      perMinute: 4,
    });
  });

  it('finds tasks by queue, tag, fingerprint, time, word, id prefix or several', async () => {
    const send = tasks.task('send_email', (_to: string) => 1, { tags: { tenant: '7' } });
    const charge = tasks.task('charge', (order: number) => {
      throw new Error(`card ${order} was declined by Mastodon bank`);
    });
    await tasks.start();
    const sent = await send
      .with({ queue: 'bulk', tags: { tenant: '7', customer: 'Ada Lovelace, London' } })
      .enqueue('a');
    const other = await send
      .with({ tags: { tenant: '8', urgent: 'yes', paid: 'yes' } })
      .enqueue('b');
    await sleep(0.01);
    const [one = '', two = ''] = await charge.enqueueMany([[1], [2]]);
    await Promise.all([
      ended(sent, 'success'),
      ended(other, 'success'),
      ended(one, 'failed'),
      ended(two, 'failed'),
    ]);
    const ids = async (query: FindQuery): Promise<string[]> => {
      const page = await tasks.find({ limit: 10, ...query });
      expect(page.total).toBe(page.items.length);
      return page.items.map(({ id }) => id);
    };
    const charged = await tasks.get(one);
    const fingerprint = charged?.fingerprint ?? '';
    const createdAt = charged?.createdAt;
    expect(await ids({ queue: 'bulk' })).toEqual([sent]);
    expect(await ids({ queue: 'nowhere' })).toEqual([]);
    expect(await ids({ tag: ['tenant:7'] })).toEqual([sent]);
    expect(await ids({ tag: ['tenant'] })).toEqual([other, sent]);
    expect(await ids({ tag: ['tenant', 'urgent:yes'] })).toEqual([other]);
    expect(await ids({ fingerprint })).toEqual([two, one]);
    expect(await ids({ fingerprint, status: ['success'] })).toEqual([]);
    expect(await ids({ to: createdAt })).toEqual([other, sent]);
    expect(await ids({ from: createdAt, name: 'charge' })).toEqual([two, one]);
    expect(await ids({ q: 'EMAIL' })).toEqual([other, sent]);
    expect(await ids({ q: 'tenant:8' })).toEqual([other]);
    expect(await ids({ q: 'yes' })).toEqual([other]);
    expect(await ids({ q: 'lovelace ada' })).toEqual([sent]);
    expect(await ids({ q: 'Ada Lovelace, London' })).toEqual([sent]);
    expect(await ids({ q: 'ada mastodon' })).toEqual([]);
    expect(await ids({ q: sent.slice(0, 23) })).toContain(sent);
    await waitFor(async () => (await ids({ q: 'mastodon' })).length === 2);
    expect(await ids({ q: 'mastodon', to: createdAt })).toEqual([]);
    expect(await ids({ q: 'mastodon', from: createdAt })).toEqual([two, one]);
    expect(await ids({ q: 'bank mastodon', sort: 'createdAt' })).toEqual([one, two]);
    expect(await ids({ q: 'mastodon', sort: '-duration', queue: 'default' })).toHaveLength(2);
    expect(await ids({ q: 'mastodon', status: ['success'] })).toEqual([]);
    expect(await ids({ q: 'mastodon" OR *' })).toEqual([]);
    expect(await ids({ q: 'send_email' })).toEqual([other, sent]);
    // Some word indexes split a word at this letter.
    for (const odd of ['mastodon\u19b0bank', '_', '\u19b0', '\ud800'])
      expect(await ids({ q: odd })).toEqual([]);
  });

  it('sorts by every key in both directions, without repeats or gaps across pages', async () => {
    const quick = tasks.task('quick', (ms: number) => sleep(ms / 1000));
    const bad = tasks.task('bad', () => {
      throw new Error('x');
    });
    await tasks.start();
    const made = [
      ...(await quick.enqueueMany([[40], [5], [20]])),
      ...(await bad.enqueueMany([[], []])),
    ];
    for (const id of made) await waitFor(async () => (await tasks.get(id))?.endedAt);
    made.push(await quick.with({ runIn: 60 }).enqueue(1), await bad.with({ runIn: 60 }).enqueue());
    await tasks.control({ action: 'cancel', ids: [made[6] ?? ''] }, by);
    for (const sort of [
      'createdAt',
      'startedAt',
      'endedAt',
      'duration',
      'name',
      'status',
    ] as const) {
      for (const by of [sort, `-${sort}`] as const) {
        const items: TaskSummary[] = [];
        let cursor: string | undefined;
        do {
          const page = await tasks.find({ limit: 2, sort: by, cursor });
          expect([page.total, page.totalRelation]).toEqual([7, 'eq']);
          items.push(...page.items);
          cursor = page.nextCursor ?? undefined;
        } while (cursor !== undefined);
        expect(items.map(({ id }) => id).sort()).toEqual([...made].sort());
        const sorted = [...items].sort((a, b) => inOrder(a, b, sort, by === sort ? 1 : -1));
        expect([by, ...items.map(({ id }) => id)]).toEqual([by, ...sorted.map(({ id }) => id)]);
      }
    }
  });

  it('rejects a cursor of another sort order and a made-up cursor', async () => {
    await tasks.define('noop').enqueueMany([[], []]);
    const { nextCursor } = await tasks.find({ limit: 1 });
    const invalid = expect.objectContaining({ code: 'INVALID_CURSOR' });
    await expect(
      tasks.find({ limit: 1, sort: 'duration', cursor: nextCursor ?? '' }),
    ).rejects.toThrow(invalid);
    for (const cursor of ['x', movedTo(nextCursor, 'x')])
      await expect(tasks.find({ limit: 1, cursor })).rejects.toThrow(invalid);
  });
}

/** Compares two tasks by a key. A task without the key is last, and ties are resolved by id. */
function inOrder(a: TaskSummary, b: TaskSummary, key: SortKey, turn: number): number {
  const [x, y] = [a, b].map((task) =>
    key === 'status' ? taskStatuses.indexOf(task.status) : task[key],
  );
  const tie = turn * (a.id < b.id ? -1 : 1);
  if (x === null || x === undefined || y === null || y === undefined)
    return Number(x === null) - Number(y === null) || tie;
  return x === y ? tie : turn * (x < y ? -1 : 1);
}
