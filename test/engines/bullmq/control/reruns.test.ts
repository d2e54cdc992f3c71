import { describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import { cuttable } from '../../../helpers/cutter.js';
import { freePort } from '../../../helpers/free-port.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('a rerun of many tasks', () => {
  const on = new RedisForEach();

  it('fails with `maybeDone` if Redis fails after the first rerun', async () => {
    const [line, nowhere] = [await cuttable(on.redis.port), await freePort()];
    on.keep(line);
    const engine = bullmqEngine({
      connection: { host: '127.0.0.1', port: line.port },
      logger: false,
    });
    const tasks = new TaskManager({ engine, logger: false });
    on.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    const noop = tasks.task('noop', () => 1);
    await tasks.start();
    const count = async () => (await tasks.aggregate('statsSnapshot')).counts.success;
    // The number is one more than one step reruns.
    const ids = await noop.enqueueMany(Array.from({ length: 201 }, () => [] as []));
    await waitFor(async () => (await count()) === 201);
    tasks.on('pending', () => line.leadTo(nowhere));
    await expect(tasks.control({ action: 'rerun', ids }, { actor: 'test' })).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
      maybeDone: true,
    });
    line.leadTo(on.redis.port);
    await waitFor(async () => (await count().catch(() => 0)) === 401, 20);
  });
});
