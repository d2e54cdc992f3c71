import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Queue } from 'bullmq';
import { bullmqEngine } from '../../../../src/engines/bullmq/index.js';
import { TaskManager } from '../../../../src/index.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { gate, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('a task that ends while it is read', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await RedisServer.start();
  });
  afterAll(() => redis.remove());

  it('is shown with its end', async () => {
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: redis.connection }),
      logger: false,
    });
    const end = gate();
    const task = tasks.task('slow', () => end.passed);
    await tasks.start();
    const id = await task.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'running');
    const { getJobState } = Queue.prototype;
    const reading = jest
      .spyOn(Queue.prototype, 'getJobState')
      .mockImplementationOnce(async function (this: Queue, jobId) {
        const state = await getJobState.call(this, jobId);
        end.open();
        await waitFor(async () => (await getJobState.call(this, jobId)) === 'completed');
        return state;
      });
    try {
      const shown = await tasks.get(id);
      expect(shown).toMatchObject({
        status: 'success',
        attempts: [{ number: 1, status: 'success' }],
      });
    } finally {
      reading.mockRestore();
      await tasks.stop();
    }
  });
});
