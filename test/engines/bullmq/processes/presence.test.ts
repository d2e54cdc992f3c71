import { describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { gate, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('a process in the list of processes', () => {
  const server = new RedisForEach();

  it('has as many slots as it runs tasks at once over all its queues', async () => {
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: server.redis.connection, logger: false }),
      logger: false,
      concurrency: 2,
    });
    server.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    const { passed, open } = gate();
    const hold = tasks.task('hold', () => passed);
    const narrow = tasks.task('narrow', () => passed, { concurrency: 1 });
    await tasks.start();
    for (const queue of ['one', 'two']) await hold.with({ queue }).enqueueMany([[], [], []]);
    await narrow.enqueueMany([[], []]);
    // Two in each of the queues `default`, `one` and `two`, and one of the limited task.
    await waitFor(async () => (await tasks.aggregate('workers'))[0]?.slots === 7, 20);
    await waitFor(async () => (await tasks.find({ status: ['running'], limit: 1 })).total === 5, 20);
    expect((await tasks.aggregate('workers'))[0]).toMatchObject({ slots: 7, stuck: 0 });
    open();
  });
});
