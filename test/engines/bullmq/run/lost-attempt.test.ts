import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { JobEngine } from '../../../../src/engines/bullmq/job-engine.js';
import { engineKeys } from '../../../../src/engines/bullmq/keys.js';
import { TaskManager } from '../../../../src/manager.js';
import { loggerOption } from '../../../../src/options.js';
import { taskContext } from '../../../../src/tasks/context.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { gate, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)(
  'an attempt that has lost its task to another process',
  () => {
    let redis: RedisServer;
    beforeAll(async () => {
      redis = await RedisServer.start();
    });
    afterAll(() => redis.remove());

    it('does not keep its process from settling the task when the other process dies', async () => {
      const client = new Redis(redis.connection);
      const engine = new JobEngine({
        ...{ connection: redis.connection, prefix: 'lost', logger: loggerOption('logger', false) },
        ...{ lockDuration: 1000, stalledInterval: 200 },
        kept: { age: 604_800, count: 100_000 },
        statistics: { minutes: 604_800_000, hours: 34_560_000_000 },
      });
      const tasks = new TaskManager({ engine, logger: false });
      const [aborted, end] = [gate(), gate()];
      const task = tasks.task('deaf', async () => {
        taskContext().signal.addEventListener('abort', () => aborted.open());
        await end.passed;
      });
      await tasks.start();
      const id = await task.enqueue();
      await waitFor(async () => (await tasks.get(id))?.status === 'running');
      const lock = `${engineKeys('lost').ofQueue('default', id)}:lock`;
      // As if another process ran the task.
      await client.set(lock, 'another');
      await aborted.passed;
      // As if that process had died.
      await client.del(lock);
      await waitFor(async () => (await tasks.get(id))?.status === 'interrupted');
      expect(await client.exists(lock)).toBe(0);
      end.open();
      await tasks.stop();
      client.disconnect();
    });
  },
);
