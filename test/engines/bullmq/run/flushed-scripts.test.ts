import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { bullmqEngine } from '../../../../src/engines/bullmq/index.js';
import { TaskManager } from '../../../../src/index.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)(
  'a worker whose Redis drops all scripts again and again',
  () => {
    let redis: RedisServer;
    beforeAll(async () => {
      redis = await RedisServer.start();
    });
    afterAll(() => redis.remove());

    it('stores the end of each task as its handler gave it', async () => {
      const client = new Redis(redis.connection);
      const tasks = new TaskManager({
        engine: bullmqEngine({ connection: redis.connection, logger: false }),
        logger: false,
      });
      let calls = 0;
      const task = tasks.task('count', () => {
        calls += 1;
      });
      const ids = await task.enqueueMany(Array.from({ length: 500 }, () => []));
      let isOver = false;
      const flushing = (async () => {
        while (!isOver) await client.script('FLUSH');
      })();
      await tasks.start();
      await waitFor(() => calls === 500);
      isOver = true;
      await flushing;
      await waitFor(
        async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0,
      );
      expect((await tasks.aggregate('statsSnapshot')).counts).toMatchObject({
        success: ids.length,
        failed: 0,
        interrupted: 0,
      });
      client.disconnect();
      await tasks.stop();
    });
  },
);
