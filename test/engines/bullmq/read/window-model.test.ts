import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { attachQueues } from '../../../../src/engines/bullmq/attached/attach-queues.js';
import { JobEngine, type JobEngineOptions } from '../../../../src/engines/bullmq/job-engine.js';
import { type EngineKeys, engineKeys } from '../../../../src/engines/bullmq/keys.js';
import { TaskManager } from '../../../../src/manager.js';
import { loggerOption } from '../../../../src/options.js';
import type { FindQuery } from '../../../../src/tasks/source.js';
import { newTaskId } from '../../../../src/tasks/task-id.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { RedisServer } from '../../../helpers/redis.js';
import { monitorRedis } from '../../../helpers/redis-monitor.js';
import { eventually, waitFor } from '../../../helpers/wait.js';

let redis: RedisServer;
let client: Redis;
let prefix = '';
let keys: EngineKeys;
let prefixes = 0;
const keep = closeAfterEach();

beforeAll(async () => {
  redis = await RedisServer.start();
  client = new Redis(redis.connection);
});
afterAll(async () => {
  client.disconnect();
  await redis.remove();
});
beforeEach(async () => {
  await client.flushall();
  prefixes += 1;
  prefix = `read-${prefixes}`;
  keys = engineKeys(prefix);
});

function manager(options: Partial<JobEngineOptions> = {}): TaskManager {
  const engine = new JobEngine({
    ...{
      connection: redis.connection,
      prefix,
      logger: loggerOption('logger', false),
      lockDuration: 20_000,
    },
    kept: { age: 604_800, count: 100_000 },
    statistics: { minutes: 604_800_000, hours: 34_560_000_000 },
    ...options,
  });
  const tasks = new TaskManager({ engine, logger: false });
  keep({ close: () => tasks.stop() });
  return tasks;
}

/** Stores ended jobs as BullMQ does, with end times ten milliseconds apart. */
async function seed(n: number, set: 'completed' | 'failed', marker?: 'cancelled'): Promise<void> {
  const script = `
    local first = tonumber(ARGV[1])
    for n = 1, tonumber(ARGV[2]) do
      local at = first + n * 10
      local hex = string.format('%012x', at)
      local id = string.sub(hex, 1, 8) .. '-' .. string.sub(hex, 9)
        .. '-7000-8000-' .. string.format('%012x', n)
      local job = KEYS[1] .. id
      redis.call('HSET', job, 'name', ARGV[4], 'data', '["secret"]', 'opts', '{"attempts":1}')
      redis.call('HSET', job, 'timestamp', at, 'delay', 0, 'priority', 0, 'atm', 1)
      redis.call('HSET', job, 'processedOn', at + 1, 'finishedOn', at + 5)
      redis.call('HSET', job, 'returnvalue', '"secret"')
      if ARGV[3] == 'failed' then
        local error = '{"name":"Error","fingerprint":"0123456789abcdef"}'
        redis.call('HSET', job, 'failedReason', 'no', 'tfe', error)
      end
      if ARGV[5] ~= '' then
        redis.call('HSET', job, 'tfm', ARGV[5] .. ':' .. at + 5)
        redis.call('ZADD', KEYS[3], at + 5, id)
      end
      redis.call('ZADD', KEYS[2], at + 5, id)
    end`;
  const first = Date.now() - 10_000_000 + (set === 'failed' ? 1 : 0) + (marker ? 1 : 0);
  await client.hset(keys.queues, 'default', '{"label":"default"}');
  const used = [
    keys.ofQueue('default', ''),
    keys.ofQueue('default', set),
    keys.marked('default', 'cancelled'),
  ];
  await client.eval(script, 3, ...used, first, n, set, `seeded-${marker ?? set}`, marker ?? '');
}

/** Returns the ids of a list from all of its pages. */
async function idsOf(
  tasks: TaskManager,
  query: FindQuery,
): Promise<{ ids: string[]; limited: boolean }> {
  const ids: string[] = [];
  let cursor: string | undefined;
  for (;;) {
    const page = await tasks.find({ ...query, cursor });
    ids.push(...page.items.map(({ id }) => id));
    if (page.nextCursor === null) return { ids, limited: page.limited === true };
    cursor = page.nextCursor;
  }
}

describe('the window of a process that reads tasks', () => {
  it('shows the first page and exact counts within seconds despite a long history', async () => {
    await seed(20_000, 'completed');
    await seed(500, 'failed');
    const tasks = manager();
    const began = performance.now();
    const page = await tasks.find({ limit: 50 });
    expect(performance.now() - began).toBeLessThan(5000);
    expect(page).toMatchObject({ total: 20_500, totalRelation: 'eq' });
    const times = page.items.map(({ createdAt }) => createdAt);
    expect(times).toEqual([...times].sort().reverse());
    expect((await tasks.aggregate('statsSnapshot')).counts).toMatchObject({
      success: 20_000,
      failed: 500,
      pending: 0,
    });
  });

  it('stays within its limits, and marks a list that covers only new tasks', async () => {
    await seed(900, 'completed');
    await seed(400, 'failed');
    const tasks = manager({ window: { ended: 500, pending: 50 } });
    await tasks.define('noop').enqueueMany(Array.from({ length: 120 }, () => []));
    await waitFor(async () => (await idsOf(tasks, { limit: 100 })).ids.length === 550);
    expect(await tasks.find({ limit: 10 })).toMatchObject({
      total: 1420,
      totalRelation: 'eq',
      limited: true,
      searched: 550,
    });
    // Once the window has read both, many successes leave room for failures.
    await eventually(async () => {
      const failed = await idsOf(tasks, { limit: 100, status: ['failed'] });
      expect(failed).toMatchObject({ limited: true });
      expect(failed.ids.length).toBeGreaterThanOrEqual(250);
      const named = await tasks.find({ limit: 400, name: 'seeded-completed' });
      expect(named).toMatchObject({
        nextCursor: null,
        limited: true,
        searched: 550,
        totalRelation: 'gte',
      });
      expect(named.items.length + failed.ids.length).toBe(500);
    });
    expect(await tasks.find({ limit: 10, status: ['pending'] })).toMatchObject({
      total: 120,
      totalRelation: 'eq',
    });
  });

  it('lists all tasks of an ended state by end time, beyond the window', async () => {
    await seed(700, 'completed');
    await seed(150, 'failed');
    await seed(130, 'failed', 'cancelled');
    const tasks = manager({ window: { ended: 100, pending: 50 } });
    for (const [status, n] of [
      ['success', 700] as const,
      ['failed', 150] as const,
      ['cancelled', 130] as const,
    ]) {
      const newest = await idsOf(tasks, { limit: 40, status: [status], sort: '-endedAt' });
      expect([status, new Set(newest.ids).size, newest.limited]).toEqual([status, n, false]);
      expect(newest.ids).toEqual([...newest.ids].sort().reverse());
      const oldest = await idsOf(tasks, { limit: 300, status: [status], sort: 'endedAt' });
      expect(oldest.ids).toEqual([...newest.ids].reverse());
    }
    expect(await tasks.find({ limit: 1, status: ['cancelled'], sort: '-endedAt' })).toMatchObject({
      total: 130,
      totalRelation: 'eq',
    });
    const [id = ''] = (await idsOf(tasks, { limit: 500, status: ['success'], sort: 'endedAt' }))
      .ids;
    expect(await tasks.get(id)).toMatchObject({ id, status: 'success', result: 'secret' });
  });

  it('finds any task by its exact id if it matches the other filters', async () => {
    await seed(300, 'completed');
    const tasks = manager({ window: { ended: 100, pending: 1 } });
    const [id = ''] = (await idsOf(tasks, { limit: 100, status: ['success'], sort: 'endedAt' }))
      .ids;
    const [first = '', second = ''] = await tasks
      .define('noop')
      .with({ queue: 'other' })
      .enqueueMany([[], []]);
    await client.hset(keys.ofQueue('default', 'foreign'), {
      name: 'foreign',
      data: '{}',
      opts: '{}',
      timestamp: 1,
      finishedOn: 1,
    });
    await client.zadd(keys.ofQueue('default', 'completed'), 1, 'foreign');
    const foundBy = async (q: string, query: FindQuery = {}): Promise<unknown[]> => {
      const { items, total, limited } = await tasks.find({ q, limit: 10, ...query });
      return [total, limited, ...items.map((task) => [task.id, task.queue, task.status])];
    };
    expect(await foundBy(id)).toEqual([1, undefined, [id, 'default', 'success']]);
    expect(await foundBy(first)).toEqual([1, undefined, [first, 'other', 'pending']]);
    expect(await foundBy(second)).toEqual([1, undefined, [second, 'other', 'pending']]);
    expect(await foundBy('default:foreign')).toEqual([
      1,
      undefined,
      ['default:foreign', 'default', 'success'],
    ]);
    // A word is not an id: it finds what has this word, such as the name of the second job.
    const named = {
      name: 'other',
      data: '{}',
      opts: '{}',
      timestamp: Date.now(),
      finishedOn: Date.now(),
    };
    await client.hset(keys.ofQueue('default', 'noop'), named);
    await client.zadd(keys.ofQueue('default', 'completed'), Date.now(), 'noop');
    expect(
      (await tasks.find({ q: 'noop', limit: 10 })).items.map(({ id: found }) => found),
    ).toEqual([second]);
    expect(await foundBy(id, { status: ['success'], queue: 'default' })).toEqual([
      1,
      undefined,
      [id, 'default', 'success'],
    ]);
    for (const query of [{ status: ['failed'] }, { queue: 'other' }, { name: 'noop' }] as const)
      expect((await tasks.find({ q: id, limit: 10, ...query })).items).toEqual([]);
    expect((await tasks.find({ q: newTaskId(), limit: 10 })).items).toEqual([]);
  });

  it('lists each job once, even if many ended in the same millisecond', async () => {
    const at = Date.now();
    for (const queue of ['default', 'mail']) {
      await client.hset(keys.queues, queue, JSON.stringify({ label: queue }));
      for (let n = 0; n < 30; n++) {
        const ended = { finishedOn: at, processedOn: at, timestamp: at - n, atm: 1 };
        await client.hset(keys.ofQueue(queue, `j${n}`), {
          name: 'foreign',
          data: '{}',
          opts: '{}',
          ...ended,
        });
        await client.zadd(keys.ofQueue(queue, 'completed'), at, `j${n}`);
      }
    }
    const tasks = manager({ window: { ended: 10, pending: 10 } });
    for (const sort of ['-endedAt', 'endedAt'] as const) {
      const { ids } = await idsOf(tasks, { limit: 7, status: ['success'], sort });
      expect([ids.length, new Set(ids).size]).toEqual([60, 60]);
    }
  });

  it('reads no arguments, results or logs for lists', async () => {
    await seed(300, 'completed');
    await seed(30, 'failed');
    const monitor = keep(await monitorRedis(redis.port));
    const tasks = manager({ window: { ended: 100, pending: 50 } });
    await idsOf(tasks, { limit: 100 });
    await idsOf(tasks, { limit: 100, status: ['success'], sort: '-endedAt' });
    await tasks.aggregate('statsSnapshot');
    await tasks.aggregate('waits');
    await client.echo('the end of it');
    await waitFor(() => monitor.commands().some(([, word]) => word === 'the end of it'));
    const commands = monitor.commands();
    const names = new Set(commands.map(([name = '']) => name.toLowerCase()));
    expect(names.has('hmget')).toBe(true);
    expect(
      ['hgetall', 'hget', 'keys', 'scan', 'hscan', 'zscan', 'eval', 'evalsha'].filter(
        (name) => name !== 'hgetall' && names.has(name),
      ),
    ).toEqual([]);
    const fields = commands.flatMap((args) => args.slice(1));
    expect(
      fields.filter(
        (field) => ['data', 'returnvalue', 'stacktrace'].includes(field) || field.endsWith(':logs'),
      ),
    ).toEqual([]);
    // Only the hashes of queues and of pauses are read in full.
    expect(
      new Set(commands.filter(([name]) => name?.toLowerCase() === 'hgetall').map(([, key]) => key)),
    ).toEqual(new Set([keys.queues, keys.pauses]));
  });

  it('is opened by the first call that reads, so workers have none', async () => {
    const worker = manager();
    const noop = worker.task('noop', () => 1);
    await worker.start();
    const monitor = keep(await monitorRedis(redis.port));
    const id = await noop.enqueue();
    await waitFor(async () => (await worker.get(id))?.status === 'success');
    const reads = (): string[][] =>
      monitor
        .commands()
        .filter(
          ([name = '', ...args]) => /^(xread|xrange)$/i.test(name) && args.includes(keys.changes),
        );
    expect([
      ...reads(),
      ...monitor.commands().filter((args) => args.includes('failedReason')),
    ]).toEqual([]);
    await worker.find({ limit: 1 });
    await waitFor(() => reads().length > 0);
  });

  it('shows the changes of one process in every other process immediately', async () => {
    const [worker, one, two] = [manager(), manager(), manager()];
    const noop = worker.task('noop', () => 1);
    for (const reader of [one, two]) expect((await reader.find({ limit: 10 })).total).toBe(0);
    for (let n = 0; n < 5; n++) {
      const id = await noop.enqueue();
      for (const reader of [one, two])
        expect((await reader.find({ limit: 1 })).items[0]).toMatchObject({ id, status: 'pending' });
    }
    await worker.start();
    for (const reader of [one, two])
      await waitFor(async () => (await reader.find({ limit: 1, status: ['success'] })).total === 5);
  });

  it('gives each process revisions that differ from those of other processes', async () => {
    const [one, two] = [await manager().describe(), await manager().describe()];
    // Revisions that started at the current time would be close to each other.
    expect(Math.abs(one.rev - two.rev)).toBeGreaterThan(1_000_000);
  });

  it('notices tasks that BullMQ removed without an event', async () => {
    const [worker, reader] = [manager({ kept: { age: 604_800, count: 5 } }), manager()];
    const noop = worker.task('noop', () => 1);
    const { rev } = await reader.describe();
    const removed: string[] = [];
    const controller = new AbortController();
    const watching = (async () => {
      for await (const changes of reader.watch(rev, controller.signal))
        removed.push(...changes.removed);
    })();
    await worker.start();
    const ids: string[] = [];
    for (let n = 0; n < 12; n++) {
      ids.push(await noop.enqueue());
      await waitFor(
        async () =>
          (await reader.find({ limit: 1, status: ['success'] })).items[0]?.id === ids.at(-1),
      );
    }
    await waitFor(async () => (await idsOf(reader, { limit: 100 })).ids.length === 5);
    expect((await idsOf(reader, { limit: 100 })).ids).toEqual(ids.slice(-5).reverse());
    await waitFor(() => removed.length === 7);
    controller.abort();
    await watching;
    expect(removed.sort()).toEqual(ids.slice(0, 7));
  });

  it('shows jobs that another program adds, runs and deletes without notes', async () => {
    const reader = manager();
    await seed(3, 'completed');
    expect((await reader.find({ limit: 10 })).total).toBe(3);
    const options = { connection: redis.connection, prefix: keys.prefix };
    const queue = new Queue('default', options);
    keep(queue);
    const job = await queue.add('foreign', { a: 1 }, { jobId: 'a-b' });
    const name = `default:${job.id}`;
    await waitFor(async () => (await reader.find({ limit: 1 })).items[0]?.id === name);
    expect(await reader.get(name)).toMatchObject({
      id: name,
      name: 'foreign',
      status: 'pending',
      args: [{ a: 1 }],
    });
    const worker = new Worker('default', async () => undefined, options);
    keep(worker);
    await waitFor(async () => (await reader.find({ limit: 1 })).items[0]?.status === 'success');
    const [, second] = (await reader.find({ limit: 10 })).items;
    await queue.remove(second?.id ?? '');
    await job.remove();
    await waitFor(async () => (await idsOf(reader, { limit: 10 })).ids.length === 2);
  });

  it('reads the queues again if notes were trimmed before they were read', async () => {
    const [writer, reader] = [manager(), manager()];
    const noop = writer.define('noop');
    await noop.enqueue();
    expect((await reader.find({ limit: 1 })).total).toBe(1);
    const ids = await noop.enqueueMany(Array.from({ length: 30 }, () => []));
    const other = client.pipeline();
    for (let n = 0; n < 700; n++) other.xadd(keys.changes, '*', 'changed', 'default:nothing');
    other.xtrim(keys.changes, 'MAXLEN', 600);
    await other.exec();
    expect((await reader.find({ limit: 30 })).items.map(({ id }) => id)).toEqual(
      [...ids].reverse(),
    );
  });

  it('shows the current state after the stream of notes was deleted', async () => {
    const [worker, reader] = [manager(), manager()];
    const noop = worker.task('noop', () => 1);
    const ids = await noop.enqueueMany(Array.from({ length: 30 }, () => []));
    expect((await reader.find({ limit: 1, status: ['pending'] })).total).toBe(30);
    await worker.start();
    await waitFor(async () => (await client.zcard(keys.ofQueue('default', 'completed'))) === 30);
    await client.del(keys.changes);
    const id = await noop.enqueue();
    await waitFor(
      async () => (await reader.find({ limit: 1, status: ['success'] })).total === ids.length + 1,
    );
    expect((await reader.find({ limit: 1 })).items[0]).toMatchObject({ id });
  });
});

describe('a window of attached queues', () => {
  it('finds a job by its id once, whatever the form of the id', async () => {
    const queues = ['mail', 'mai'].map((name) =>
      keep(new Queue(name, { connection: redis.connection, prefix })),
    );
    const tasks = keep(attachQueues(queues, { logger: false }));
    for (const jobId of [newTaskId(), 'mail', 'mai']) {
      await queues[1]?.add('work', {}, { jobId });
      const { items, total } = await tasks.find({ q: jobId, limit: 10 });
      expect([items.map(({ id }) => id), total]).toEqual([[`mai:${jobId}`], 1]);
    }
  });
});

describe('a window after Redis restarts', () => {
  it('rejects calls during the restart, and then shows the current state', async () => {
    const own = await RedisServer.start();
    keep({ close: () => own.remove() });
    const [writer, reader] = [
      manager({ connection: own.connection }),
      manager({ connection: own.connection }),
    ];
    const noop = writer.define('noop');
    const first = await noop.enqueue();
    expect((await reader.find({ limit: 5 })).items.map(({ id }) => id)).toEqual([first]);
    await own.stop();
    await expect(reader.find({ limit: 5 })).rejects.toThrow(
      expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' }),
    );
    await own.start();
    const second = await waitFor(() => noop.enqueue().catch(() => undefined));
    await waitFor(
      async () => (await reader.find({ limit: 5 }).catch(() => undefined))?.items[0]?.id === second,
    );
  });
});
