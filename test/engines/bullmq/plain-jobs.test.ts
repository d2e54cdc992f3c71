import { beforeEach, describe, expect, it } from '@jest/globals';
import { FlowProducer, type JobsOptions, Queue } from 'bullmq';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../src/manager.js';
import type { Outcome } from '../../../src/tasks/commands.js';
import { taskContext } from '../../../src/tasks/context.js';
import { hasRedis, RedisForEach } from '../../helpers/redis.js';
import { waitFor } from '../../helpers/wait.js';

const by = { actor: 'test' };

(hasRedis ? describe : describe.skip)('a worker on an empty prefix', () => {
  const forEach = new RedisForEach();

  it('runs jobs that plain BullMQ adds for its handlers, even for later ones', async () => {
    const { connection } = forEach.redis;
    const manager = (): TaskManager => {
      const made = new TaskManager({
        engine: bullmqEngine({ connection, logger: false }),
        logger: false,
      });
      forEach.keep({ close: () => made.stop({ timeout: 0.1 }) });
      return made;
    };
    const [worker, reader] = [manager(), manager()];
    const ran: string[] = [];
    const run = (name: string): void => void ran.push(name);
    worker.task('mail', () => run('mail'));
    worker.task('call', () => run('call'), { queue: 'limited', concurrency: 1 });
    worker.define('elsewhere', { queue: 'other' });
    await Promise.all([worker.start(), reader.start({ run: false })]);
    worker.task('late', () => run('late'), { queue: 'later' });
    const queues = ['default', 'limited/call', 'later'].map((name) =>
      forEach.keep(new Queue(name, { connection, prefix: '{koa-taskflow}' })),
    );
    await Promise.all(queues.map((queue, n) => queue.add(['mail', 'call', 'late'][n] ?? '', {})));
    await waitFor(() => ran.length === 3);
    expect(ran.sort()).toEqual(['call', 'late', 'mail']);
    expect((await reader.describe()).queues.map(({ name }) => name)).toEqual([
      'default',
      'later',
      'limited',
    ]);
    await waitFor(async () => (await reader.find({ status: 'success' })).items.length === 3);
  });

  it('keeps the queue limit that the enqueuing process has set', async () => {
    const { connection } = forEach.redis;
    const [web, worker] = [5, 2].map((concurrency) => {
      const made = new TaskManager({
        engine: bullmqEngine({ connection, logger: false }),
        logger: false,
      });
      forEach.keep({ close: () => made.stop({ timeout: 0.1 }) });
      return [made, made.task('call', () => concurrency, { concurrency })] as const;
    });
    if (!web || !worker) throw new Error('no managers');
    const id = await web[1].enqueue();
    await worker[0].start();
    await waitFor(async () => (await worker[0].get(id))?.status === 'success');
    expect(await forEach.client.hget('{koa-taskflow}:default/call:meta', 'concurrency')).toBe('5');
  });
});

/** Jobs that an app adds with plain BullMQ to a queue of the engine. */
(hasRedis ? describe : describe.skip)('a job added by plain BullMQ', () => {
  const forEach = new RedisForEach();
  let tasks: TaskManager;
  let queue: Queue;

  beforeEach(async () => {
    const { connection } = forEach.redis;
    tasks = new TaskManager({ engine: bullmqEngine({ connection, logger: false }), logger: false });
    queue = new Queue('default', { connection, prefix: '{koa-taskflow}' });
    forEach.keep({ close: () => Promise.all([tasks.stop({ timeout: 0.1 }), queue.close()]) });
    // The queue is one of the engine.
    const id = await tasks.define('first').with({ runIn: 3600 }).enqueue();
    await tasks.control({ action: 'cancel', ids: [id] }, by);
    await tasks.control({ action: 'delete', ids: [id] }, by);
  });

  const idsOf = ({ results }: Outcome): string[] => results.map(({ id }) => id);
  const statusOf = async (id: string): Promise<string | undefined> => (await tasks.get(id))?.status;

  describe('has one id', () => {
    it.each(['order-7', 'order 7'])('in every answer, if BullMQ calls it %j', async (jobId) => {
      await queue.add('mail', { to: 'ada' }, { jobId, delay: 3_600_000 });
      const id = `default:${jobId}`;
      expect((await tasks.find()).items.map((task) => task.id)).toEqual([id]);
      expect((await tasks.get(id))?.id).toBe(id);
      const dry = await tasks.control({ action: 'cancel', filter: 'all' }, { ...by, dryRun: true });
      expect(dry.results).toMatchObject([{ id, ok: true, task: { id, status: 'pending' } }]);
      const { rev } = await tasks.describe();
      expect(await tasks.control({ action: 'cancel', filter: 'all' }, by)).toMatchObject({
        results: [{ id, ok: true, task: { id } }],
      });
      for await (const { upserts } of tasks.watch(rev, AbortSignal.timeout(5000))) {
        expect(upserts.map((task) => task.id)).toEqual([id]);
        break;
      }
      expect(await statusOf(id)).toBe('cancelled');
      const byId = await tasks.control({ action: 'retry', ids: [id] }, by);
      expect(byId.results).toMatchObject([{ id, ok: true, task: { id, status: 'pending' } }]);
      expect(
        idsOf(await tasks.control({ action: 'cancel', filter: { name: 'mail' } }, by)),
      ).toEqual([id]);
      const rerun = await tasks.control({ action: 'rerun', ids: [id] }, by);
      const [made] = rerun.results;
      expect(rerun.results).toMatchObject([
        { id, ok: true, task: { status: 'pending', name: 'mail' } },
      ]);
      expect(await tasks.get((made?.ok && made.task.id) || '')).toMatchObject({
        args: [{ to: 'ada' }],
        rerunOf: id,
      });
      expect(idsOf(await tasks.control({ action: 'delete', ids: [id] }, by))).toEqual([id]);
      expect(await statusOf(id)).toBeUndefined();
    });

    it('in its handler and its events', async () => {
      const seen: string[] = [];
      tasks.task('mail', () => {
        seen.push(taskContext().id);
      });
      tasks.on('success', ({ id }) => seen.push(id));
      await tasks.start();
      await queue.add('mail', {}, { jobId: 'order-7' });
      await waitFor(() => seen.length === 2);
      expect(seen).toEqual(['default:order-7', 'default:order-7']);
      expect((await tasks.aggregate('statsSnapshot')).counts.success).toBe(1);
    });
  });

  it.each([
    'default:wait',
    'default:meta',
    'default:events',
    'default:',
    ':',
    'wait',
    '~ticks:repeat',
    '00000000-0000-7000-8000-000000000000',
  ])('is not found under the name of another key: %j', async (id) => {
    await queue.add('mail', {}, { delay: 3_600_000 });
    expect(await tasks.get(id)).toBeUndefined();
    const { results } = await tasks.control({ action: 'cancel', ids: [id] }, by);
    expect(results).toEqual([{ id, ok: false, code: 'TASK_NOT_FOUND' }]);
  });

  describe('with a local handler', () => {
    it.each<[string, unknown, unknown[]]>([
      ['an object', { to: 'ada' }, [{ to: 'ada' }]],
      ['a text', 'ada', ['ada']],
      ['a number', 7, [7]],
      ['null', null, [null]],
      ['nothing', undefined, [{}]],
      ['a list, which becomes the arguments,', ['ada', 2], ['ada', 2]],
    ])('runs with %s as data', async (_name, data, expected) => {
      tasks.task('mail', (...args: unknown[]) => args as never);
      await tasks.start();
      const { id } = await queue.add('mail', data);
      const task = await waitFor(async () => {
        const found = await tasks.get(`default:${id}`);
        return found?.endedAt && found;
      });
      expect(task).toMatchObject({ status: 'success', args: expected, result: expected });
    });

    it('fails with a clear error if its data is not JSON', async () => {
      tasks.task('mail', () => 1);
      const { id } = await queue.add('mail', {}, { delay: 100 });
      await forEach.client.hset(`{koa-taskflow}:default:${id}`, 'data', '{broken');
      await tasks.start();
      await waitFor(async () => (await statusOf(`default:${id}`)) === 'failed');
      expect(await tasks.get(`default:${id}`)).toMatchObject({
        error: { name: 'TypeError' },
        args: ['{broken'],
      });
      expect((await tasks.get(`default:${id}`))?.error?.message).toMatch(/not JSON/);
    });
  });

  it('is not cancelled by a filter if it is the next run of a job scheduler', async () => {
    await queue.upsertJobScheduler(
      'nightly',
      { pattern: '0 4 * * *' },
      { name: 'report', data: {} },
    );
    await queue.upsertJobScheduler('cron', { pattern: '0 3 * * *' }, { name: 'report', data: {} });
    await queue.add('mail', {}, { jobId: 'mail-1', delay: 3_600_000 });
    const runs = (await tasks.find({ name: 'report', status: 'pending' })).items.map(
      ({ id }) => id,
    );
    const refused = {
      ok: false,
      code: 'TASK_STATE_CONFLICT',
      status: 'pending',
      detail: expect.stringMatching(/job scheduler/),
    };
    for (const how of [{ ...by, dryRun: true }, by]) {
      expect((await tasks.control({ action: 'cancel', filter: 'all' }, how)).results).toMatchObject(
        [{ id: 'default:mail-1', ok: true }],
      );
      const { results } = await tasks.control({ action: 'cancel', ids: runs }, how);
      expect(results).toEqual([expect.objectContaining(refused), expect.objectContaining(refused)]);
    }
    expect(
      (await tasks.control({ action: 'cancel', filter: { name: 'report' } }, by)).results,
    ).toEqual([]);
    expect(await queue.getDelayedCount()).toBe(2);
    // The schedulers continue, because each run creates the next one.
    const ran: string[] = [];
    tasks.task('report', () => {
      ran.push(taskContext().id);
    });
    await tasks.start();
    const next = (await tasks.find({ name: 'report', status: 'pending' })).items.map(
      ({ id }) => id,
    );
    await tasks.control({ action: 'run', ids: next }, by);
    await waitFor(() => ran.length === 2);
    expect(ran.sort()).toEqual([...next].sort());
    await waitFor(async () => (await queue.getDelayedCount()) === 2);
    // After its end, a run is treated like any other task.
    await waitFor(async () => (await statusOf(next[0] ?? '')) === 'success');
    expect(
      (await tasks.control({ action: 'delete', ids: next.slice(0, 1) }, by)).results,
    ).toMatchObject([{ ok: true }]);
  });

  it('is not cancelled if it is part of a flow, and the answer says why', async () => {
    const { connection } = forEach.redis;
    const flows = new FlowProducer({ connection, prefix: '{koa-taskflow}' });
    await flows.add({
      name: 'sum',
      queueName: 'default',
      children: [{ name: 'part', queueName: 'default' }],
    });
    await flows.close();
    const ids = (await tasks.find()).items.map(({ id }) => id);
    for (const how of [{ ...by, dryRun: true }, by]) {
      expect((await tasks.control({ action: 'cancel', filter: 'all' }, how)).results).toEqual([]);
      const { results } = await tasks.control({ action: 'cancel', ids }, how);
      const refused = {
        ok: false,
        code: 'TASK_STATE_CONFLICT',
        detail: expect.stringMatching(/flow/),
      };
      expect(results).toEqual([expect.objectContaining(refused), expect.objectContaining(refused)]);
    }
  });

  it.each<[string, JobsOptions, string]>([
    ['waits for it', {}, 'pending'],
    ['has failed with it', { failParentOnFailure: true }, 'failed'],
    ['has continued without it', { ignoreDependencyOnFailure: true }, 'success'],
  ])('is retried if it is a failed child whose parent %s', async (_, opts, parentStatus) => {
    let healthy = false;
    tasks.task('part', () => {
      if (!healthy) throw new Error('not this time');
    });
    tasks.task('sum', () => 1);
    await tasks.start();
    const { connection } = forEach.redis;
    const flows = forEach.keep(new FlowProducer({ connection, prefix: '{koa-taskflow}' }));
    const { job, children = [] } = await flows.add({
      ...{ name: 'sum', queueName: 'default', opts: { jobId: 'sum' } },
      children: [{ name: 'part', queueName: 'default', opts }],
    });
    const [sum, part] = [`default:${job.id}`, `default:${children[0]?.job.id}`];
    await waitFor(
      async () => (await statusOf(part)) === 'failed' && (await statusOf(sum)) === parentStatus,
    );
    healthy = true;
    for (const how of [{ ...by, dryRun: true }, by])
      expect((await tasks.control({ action: 'retry', ids: [part] }, how)).results).toMatchObject([
        { id: part, ok: true },
      ]);
    await waitFor(async () => (await statusOf(part)) === 'success');
    if (parentStatus === 'failed') await tasks.control({ action: 'retry', ids: [sum] }, by);
    await waitFor(async () => (await statusOf(sum)) === 'success');
  });

  it('is not confused with the ticks of schedules, which commands skip', async () => {
    const ran: number[] = [];
    tasks.schedule('often', () => void ran.push(1), { every: 0.2, overlap: true });
    await tasks.start();
    await waitFor(() => ran.length > 0);
    const { results } = await tasks.control({ action: 'cancel', filter: 'all' }, by);
    expect(results.filter(({ id }) => id.includes('tick') || id.includes('often'))).toEqual([]);
    expect((await tasks.describe()).queues.map(({ name }) => name)).toEqual(['default']);
    const before = ran.length;
    await waitFor(() => ran.length > before + 1);
    expect((await tasks.find()).items.every(({ name }) => name === 'often')).toBe(true);
  });

  it.each<[string, object]>([
    ['tag', { tags: { shop: {} } }],
    ['schedule', { schedule: { name: 'nightly' } }],
  ])(
    'is shown and runs although its taskflow options contain an invalid %s',
    async (_, taskflow) => {
      const { id } = await queue.add('odd', [1], { taskflow } as JobsOptions);
      const key = `default:${id}`;
      expect((await tasks.find()).items).toMatchObject([
        { id: key, name: 'odd', tags: {}, source: 'manual' },
      ]);
      expect(await tasks.get(key)).toMatchObject({ status: 'pending', tags: {} });
      tasks.task('odd', (n: number) => n + 1);
      await tasks.start();
      await waitFor(async () => (await statusOf(key)) === 'success');
      expect((await tasks.get(key))?.result).toBe(2);
    },
  );

  it.each(['null', '{}', 'no JSON', '{"start":1,"end":2,"status":"failed","error":"text"}'])(
    'is shown without attempts if its attempt record is invalid: %s',
    async (record) => {
      const { id } = await queue.add('odd', {}, { delay: 3_600_000 });
      const job = `{koa-taskflow}:default:${id}`;
      await forEach.client.hset(job, {
        tfn: 1,
        tfa1: record,
        failedReason: 'why',
        progress: 'null',
      });
      await forEach.client.rpush(
        `${job}:logs`,
        'null',
        '{"at":1,"level":"info","message":"m","fields":"7"}',
      );
      expect(await tasks.get(`default:${id}`)).toMatchObject({
        ...{ status: 'pending', attempt: 1, attempts: [], error: { message: 'why' } },
        logs: [{ message: 'null' }, { message: 'm', fields: {} }],
      });
    },
  );

  it('is retried with all others, and runs, although its options are unreadable', async () => {
    let isBroken = true;
    const part = tasks.task('part', () => {
      if (isBroken) throw new Error('broken');
    });
    await tasks.start();
    const texts = ['{broken', 'null', '5', '', '[]', '"x"', '{"attempts":1}'];
    const ids = await part.enqueueMany(texts.map(() => []));
    const counts = async (): Promise<Record<string, number>> =>
      (await tasks.aggregate('statsSnapshot')).counts;
    await waitFor(async () => (await counts()).failed === ids.length);
    for (const [n, opts] of texts.entries())
      await forEach.client.hset(`{koa-taskflow}:default:${ids[n]}`, { opts });
    isBroken = false;
    const { results } = await tasks.control({ action: 'retry', filter: 'all' }, by);
    expect(results.filter(({ ok }) => ok)).toHaveLength(ids.length);
    await waitFor(async () => (await counts()).success === ids.length);
  });

  it('is shown although its times and limits are invalid', async () => {
    const { id } = await queue.add('odd', {}, { delay: 3_600_000 });
    const key = `{koa-taskflow}:default:${id}`;
    const opts = JSON.stringify({ delay: 1e300, attempts: 1.5, timestamp: -1 });
    await forEach.client.hset(key, {
      timestamp: '1e20',
      opts,
      processedOn: '1e25',
      delay: 'soon',
      atm: '-4',
    });
    await forEach.client.zadd('{koa-taskflow}:default:delayed', '+inf', id ?? '');
    const good = await queue.add('good', {}, { delay: 3_600_000 });
    expect((await tasks.find()).items.map((task) => task.id).sort()).toEqual(
      [`default:${id}`, `default:${good.id}`].sort(),
    );
    expect(await tasks.get(`default:${id}`)).toMatchObject({
      status: 'pending',
      name: 'odd',
      maxAttempts: 1,
    });
    expect(idsOf(await tasks.control({ action: 'cancel', ids: [`default:${id}`] }, by))).toEqual([
      `default:${id}`,
    ]);
    expect((await tasks.find({ status: 'cancelled' })).items).toHaveLength(1);
  });
});
