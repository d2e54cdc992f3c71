import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Job, Queue, Worker } from 'bullmq';
import Koa from 'koa';
import { type AttachedQueues, attachQueues } from '../../../../src/engines/bullmq/index.js';
import { taskAdmin } from '../../../../src/index.js';
import { ask } from '../../../helpers/client.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { serve } from '../../../helpers/serve.js';
import { waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('the statistics of attachQueues', () => {
  let redis: RedisServer;
  let queue: Queue;
  const keep = closeAfterEach();
  beforeAll(async () => {
    redis = await RedisServer.start();
  });
  afterAll(() => redis.remove());
  const open = (): Queue =>
    keep(
      new Queue(`stats-${Math.random().toString(36).slice(2)}`, { connection: redis.connection }),
    );
  beforeEach(() => {
    queue = open();
  });

  const work = (run: (job: Job) => Promise<unknown>): Worker =>
    keep(new Worker(queue.name, run, { connection: redis.connection, concurrency: 10 }));

  async function runs(amount: number): Promise<void> {
    const worker = work(async ({ data }) => {
      if (data.n % 4 === 0) throw new Error('no address');
    });
    await queue.addBulk(Array.from({ length: amount }, (_, n) => ({ name: 'past', data: { n } })));
    await waitFor(async () => (await queue.getJobCountByTypes('completed', 'failed')) === amount);
    await worker.close();
  }

  it('count all BullMQ jobs by queue, but only the jobs in memory by name', async () => {
    await runs(40);
    const other = open();
    await other.add('waits', {});
    const tasks = keep(attachQueues([queue, other], { logger: false, history: 5 }));
    const { counts, successRate, queues, functions } = await tasks.aggregate('metrics');
    expect(counts).toMatchObject({ pending: 1, success: 30, failed: 10 });
    expect(successRate).toBe(0.75);
    expect(queues).toMatchObject([
      { name: queue.name, counts: { pending: 0, success: 30, failed: 10 }, successRate: 0.75 },
      { name: other.name, counts: { pending: 1, success: 0, failed: 0 }, successRate: null },
    ]);
    const past = functions.find(({ name }) => name === 'past');
    expect(past?.counts).toMatchObject({ success: 5, failed: 5 });
    const hour = await tasks.aggregate('metrics', { from: '-1h' });
    expect(hour.counts).toMatchObject({ pending: 1, success: 5, failed: 5 });
  });

  it('show when they begin, if the process started after their range begins', async () => {
    await runs(4);
    const before = Date.now();
    const tasks: AttachedQueues = keep(attachQueues([queue], { logger: false }));
    await tasks.find({ limit: 1 });
    const app = new Koa();
    app.use(taskAdmin(tasks, { auth: null, logger: false }));
    const { url } = keep(await serve(app));
    const since = async (path: string): Promise<unknown> =>
      ((await ask(`${url}/tasks${path}`)).json as { completeSince?: string }).completeSince;
    const [completeSince] = await Promise.all(
      ['/metrics', '/functions', '/queues', '/failures'].map(since),
    );
    expect(Date.parse(String(completeSince))).toBeGreaterThanOrEqual(before);
    expect(Date.parse(String(completeSince))).toBeLessThanOrEqual(Date.now());
    for (const path of ['/metrics', '/functions', '/queues', '/failures']) {
      expect(await since(`${path}?from=-1h`)).toBe(completeSince);
      expect(await since(`${path}?from=${completeSince}`)).toBeUndefined();
    }
  });
});
