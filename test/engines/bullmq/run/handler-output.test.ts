import { describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import { taskLog, taskProgress } from '../../../../src/tasks/context.js';
import { flushing } from '../../../helpers/flushing.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { gate, sleep, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('the log lines and the progress of a handler', () => {
  const forEach = new RedisForEach();

  async function manager(): Promise<TaskManager> {
    const { port } = forEach.keep(await flushing(forEach.redis.port));
    const engine = bullmqEngine({ connection: { host: '127.0.0.1', port }, logger: false });
    const tasks = new TaskManager({ engine, logger: false });
    forEach.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }

  it('are stored although Redis drops its scripts again and again', async () => {
    const tasks = await manager();
    const { passed, open } = gate();
    const chatty = tasks.task('chatty', async () => {
      for (let n = 1; n <= 20; n++) {
        taskLog(`line ${n}`);
        taskProgress(n / 40);
        // Longer than the time for which output is gathered.
        await sleep(0.06);
      }
      await passed;
    });
    await tasks.start();
    const ids = await chatty.enqueueMany(Array.from({ length: 10 }, () => []));
    const written = async (id: string): Promise<unknown> => [
      (await tasks.get(id))?.progress,
      (await tasks.logs(id, {})).map(({ message }) => message),
    ];
    const all = Array.from({ length: 20 }, (_, n) => `line ${n + 1}`);
    try {
      for (const id of ids)
        await waitFor(
          async () => JSON.stringify(await written(id)) === JSON.stringify([0.5, all]),
          20,
        );
    } finally {
      open();
    }
    for (const id of ids) expect(await written(id)).toEqual([0.5, all]);
  });
});
