import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Job, Worker } from 'bullmq';
import { bullmqEngine } from '../../../../src/engines/bullmq/index.js';
import { TaskManager } from '../../../../src/index.js';
import { stillInMemory } from '../../../helpers/memory.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('a worker', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await RedisServer.start();
  });
  afterAll(() => redis.remove());

  it('keeps no ended jobs in memory', async () => {
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: redis.connection }),
      logger: false,
      concurrency: 20,
    });
    let calls = 0;
    const task = tasks.task('count', () => {
      calls += 1;
    });
    // This stands for an unused table of BullMQ's Set of running jobs in the old generation.
    let table: unknown;
    const jobs: WeakRef<Job>[] = [];
    const { processJob } = Worker.prototype;
    Worker.prototype.processJob = function (...args) {
      const running: unknown = Reflect.get(Reflect.get(this, 'mainLoopQueue') as object, 'pending');
      table ??= (running as Iterable<unknown>)[Symbol.iterator]();
      jobs.push(new WeakRef(args[0]));
      return processJob.apply(this, args);
    };
    try {
      await tasks.start();
      await task.enqueueMany(Array.from({ length: 2000 }, () => []));
      await waitFor(() => calls === 2000);
      expect(jobs).toHaveLength(2000);
      expect(await stillInMemory(jobs)).toBeLessThan(600);
      expect(table).toBeDefined();
    } finally {
      Worker.prototype.processJob = processJob;
      await tasks.stop();
    }
  });
});
