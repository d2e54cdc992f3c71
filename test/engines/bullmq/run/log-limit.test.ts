import { describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import { taskLog } from '../../../../src/tasks/context.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('the log of a task on Redis', () => {
  const forEach = new RedisForEach();

  it('has one limit for all attempts', async () => {
    const engine = bullmqEngine({ connection: forEach.redis.connection, logger: false });
    const tasks = new TaskManager({ engine, logger: false, limits: { logLines: 5 } });
    forEach.keep({ close: () => tasks.stop({ timeout: 1 }) });
    const chatty = tasks.task(
      'chatty',
      () => {
        for (let n = 0; n < 3; n++) taskLog(`line ${n}`);
        throw new Error('again');
      },
      { retries: 3 },
    );
    await tasks.start();
    const id = await chatty.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'failed');
    const lines = await tasks.logs(id, {});
    expect(lines.map(({ message }) => message).slice(0, 4)).toEqual([
      'line 0',
      'line 1',
      'line 2',
      'line 0',
    ]);
    expect(lines).toHaveLength(5);
  });
});
