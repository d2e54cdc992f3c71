import { describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { ChangeNotes } from '../../../../src/engines/bullmq/jobs/change-notes.js';
import { engineKeys } from '../../../../src/engines/bullmq/keys.js';
import { QueueCatalog } from '../../../../src/engines/bullmq/queues/queue-catalog.js';
import { Queues } from '../../../../src/engines/bullmq/queues/queues.js';
import { Retention } from '../../../../src/engines/bullmq/queues/retention.js';
import { MarkedJobs } from '../../../../src/engines/bullmq/read/marked-jobs.js';
import { TaskManager } from '../../../../src/manager.js';
import { loggerOption } from '../../../../src/options.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('retention in Redis', () => {
  const forEach = new RedisForEach();

  it('removes expired jobs and markers, although no later job ends', async () => {
    const { client: redis, redis: server } = forEach;
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: server.connection, prefix: 'old', logger: false }),
      logger: false,
    });
    const good = tasks.task('good', () => 1);
    const bad = tasks.task('bad', () => {
      throw new Error('bad');
    });
    await tasks.start();
    await good.enqueueMany(Array.from({ length: 1500 }, () => [] as []));
    await bad.enqueue();
    const waits = await good.with({ runIn: 60 }).enqueue();
    const cancelled = await good.with({ runIn: 60 }).enqueue();
    await tasks.control({ action: 'cancel', ids: [cancelled] }, { actor: 'test' });
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 1500, 20);
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.failed === 1);
    const keys = engineKeys('old');
    await sleep(1.1);
    const queues = new Queues(redis, keys);
    const catalog = new QueueCatalog(redis, keys);
    const parts = {
      redis,
      keys,
      catalog,
      marked: new MarkedJobs(redis, keys),
      queues,
      changes: new ChangeNotes(redis, keys),
      name: 'test',
      logger: loggerOption('logger', false),
    };
    await new Retention({ ...parts, kept: { age: 1, count: 100_000 } }).clean();
    const { counts } = await tasks.aggregate('statsSnapshot');
    expect(counts).toMatchObject({ success: 0, failed: 0, cancelled: 0, pending: 1 });
    expect(await redis.exists(keys.marked('default', 'cancelled'))).toBe(0);
    expect((await tasks.get(waits))?.status).toBe('pending');
    await queues.close();
    await tasks.stop({ timeout: 0.1 });
  });
});
