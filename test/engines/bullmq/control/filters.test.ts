import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { FlowProducer, Queue, Worker } from 'bullmq';
import { attachQueues, bullmqEngine } from '../../../../src/engines/bullmq/index.js';
import { TaskManager } from '../../../../src/manager.js';
import type { TaskSource } from '../../../../src/tasks/source.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

const by = { actor: 'test' };

/** Runs a command by filter, and checks that count, preview and result have the same tasks. */
async function done(
  tasks: TaskSource,
  action: 'cancel' | 'delete' | 'retry' | 'run',
  filter: 'all' | object = 'all',
): Promise<string[]> {
  const command = { action, filter } as Parameters<TaskSource['control']>[0];
  const preview = await tasks.control(command, { ...by, dryRun: true });
  const count = preview.found?.count ?? -1;
  const { results, found } = await tasks.control(command, { ...by, expect: count });
  const idsOf = (some: typeof results): string[] => some.map(({ id }) => id).sort();
  expect(results.filter(({ ok }) => !ok)).toEqual([]);
  expect(idsOf(results)).toEqual(idsOf(preview.results));
  expect([results.length, found]).toEqual([count, { count, relation: 'eq' }]);
  return idsOf(results);
}

(hasRedis ? describe : describe.skip)('a command by filter', () => {
  let redis: RedisServer;
  let queue: Queue;
  let name: string;
  let queues = 0;
  const keep = closeAfterEach();
  beforeAll(async () => {
    redis = await RedisServer.start();
  });
  afterAll(() => redis.remove());

  /** Adds a scheduler, a flow, and a job that belongs to neither. Returns the ids of the jobs. */
  async function addJobs(
    prefix: string,
  ): Promise<{ next: string; child: string; parent: string; alone: string }> {
    const connection = redis.connection;
    const next = await queue.upsertJobScheduler(
      'nightly',
      { pattern: '0 4 * * *' },
      { name: 'report', data: {} },
    );
    const flows = new FlowProducer({ connection, prefix });
    const { job, children = [] } = await flows.add({
      name: 'sum',
      queueName: name,
      children: [{ name: 'part', queueName: name }],
    });
    await flows.close();
    const alone = await queue.add('mail', {}, { delay: 3_600_000 });
    const [nextId, child, parent, last] = [next, children[0]?.job, job, alone].map(
      (each) => `${name}:${each?.id}`,
    );
    return { next: nextId ?? '', child: child ?? '', parent: parent ?? '', alone: last ?? '' };
  }

  const attach = (): TaskSource => keep(attachQueues([queue], { logger: false }));

  describe('on bullmqEngine', () => {
    let tasks: TaskManager;

    beforeEach(async () => {
      queues += 1;
      name = 'default';
      const engine = bullmqEngine({
        connection: redis.connection,
        prefix: `p${queues}`,
        logger: false,
      });
      tasks = new TaskManager({ engine, logger: false });
      keep({ close: () => tasks.stop({ timeout: 0.1 }) });
      await tasks.define('other').with({ runIn: 3600 }).enqueue();
      queue = keep(new Queue(name, { connection: redis.connection, prefix: `{p${queues}}` }));
    });

    it('cancels neither the next run of a job scheduler nor jobs of a flow', async () => {
      const { next, child, parent, alone } = await addJobs(`{p${queues}}`);
      expect(await done(tasks, 'cancel', { name: 'report' })).toEqual([]);
      const ids = await done(tasks, 'cancel');
      expect(ids).toEqual(expect.arrayContaining([alone]));
      expect(ids).toHaveLength(2);
      for (const how of [by, { ...by, dryRun: true }])
        expect(
          (await tasks.control({ action: 'cancel', ids: [next, child, parent] }, how)).results,
        ).toMatchObject([
          { ok: false, detail: expect.stringMatching(/job scheduler/) },
          { ok: false, detail: expect.stringMatching(/flow/) },
          { ok: false, detail: expect.stringMatching(/flow/) },
        ]);
    });

    it('does not run a job that waits for its children', async () => {
      const { parent } = await addJobs(`{p${queues}}`);
      expect(await done(tasks, 'run')).not.toContain(parent);
    });

    it('does not retry a task if another task now has its idempotency key', async () => {
      const work = tasks.define('work').with({ idempotencyKey: 'k', idempotencyWindow: 3600 });
      const first = await work.enqueue();
      expect(await done(tasks, 'cancel', { name: 'work' })).toEqual([first]);
      const second = await work.enqueue();
      expect(second).not.toBe(first);
      expect(await done(tasks, 'retry')).toEqual([]);
      const { results } = await tasks.control(
        { action: 'retry', ids: [first] },
        { ...by, dryRun: true },
      );
      expect(results).toMatchObject([
        { ok: false, code: 'TASK_STATE_CONFLICT', detail: expect.stringMatching(/idempotencyKey/) },
      ]);
    });
  });

  describe('on attached queues', () => {
    beforeEach(() => {
      queues += 1;
      name = `q${queues}`;
      queue = keep(new Queue(name, { connection: redis.connection }));
    });

    it('does not delete the next run of a job scheduler, and rejects its id', async () => {
      const { next, child, parent, alone } = await addJobs('bull');
      const tasks = attach();
      expect(await done(tasks, 'delete')).toEqual([alone, child, parent].sort());
      for (const how of [by, { ...by, dryRun: true }])
        expect((await tasks.control({ action: 'delete', ids: [next] }, how)).results).toMatchObject(
          [{ ok: false }],
        );
      expect(await queue.getDelayedCount()).toBe(1);
    });

    it('runs waiting and delayed jobs, but no job that waits for its children', async () => {
      const { next, child, alone } = await addJobs('bull');
      expect(await done(attach(), 'run')).toEqual([alone, child, next].sort());
      expect(await queue.getDelayedCount()).toBe(0);
    });

    it('does not retry a job that BullMQ has removed, but can delete it', async () => {
      const tasks = attach();
      await tasks.find();
      const worker = new Worker(name, () => Promise.reject(new Error('no')), {
        connection: redis.connection,
      });
      keep({ close: () => worker.close(true) });
      const stays = await queue.add('stays', {});
      await queue.add('gone', {}, { removeOnFail: true });
      await waitFor(async () => (await tasks.find({ status: 'failed' })).total === 2);
      await worker.close(true);
      expect(await done(tasks, 'retry')).toEqual([`${name}:${stays.id}`]);
      expect(await done(tasks, 'delete')).toHaveLength(2);
      expect((await tasks.find()).total).toBe(0);
    });
  });
});
