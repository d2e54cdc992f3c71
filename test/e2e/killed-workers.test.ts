import { describe, expect, it } from '@jest/globals';
import { ask, logIn } from '../helpers/client.js';
import { hasRedis } from '../helpers/redis.js';
import { useRedisProcesses } from '../helpers/redis-processes.js';
import { sleep, waitFor } from '../helpers/wait.js';

/**
 * The number of tasks. Set `TASKS=50` for a long run with 50,000 tasks, which uses two processors
 * for more than a minute.
 */
const amount = Number(process.env.TASKS ?? 6) * 1000;

(hasRedis ? describe : describe.skip)(
  'three workers and two web processes with a shared Redis',
  () => {
    const on = useRedisProcesses();

    it('end all tasks and lose none while workers are killed repeatedly', async () => {
      const tasks = on.manager();
      await tasks.start({ run: false });
      const again = tasks.define<[ms: number]>('again', {
        requeueOnInterrupt: true,
        maxInterrupts: 9,
      });
      const once = tasks.define<[ms: number]>('once');
      const urls = await Promise.all([on.web(), on.web()]);
      const living = await on.startedWorkers(3);
      const ids: string[] = [];
      let kills = 0;
      const killing = (async () => {
        for (; kills < 4 + amount / 12_000; kills++) {
          await sleep(1.5 + Math.random());
          const [victim] = living.splice(Math.floor(Math.random() * living.length), 1);
          victim?.process.kill('SIGKILL');
          living.push(on.worker());
        }
      })();
      for (let n = 0; n < amount; n += 500) {
        const task = n % 1000 === 0 ? again : once;
        ids.push(...(await task.enqueueMany(Array.from({ length: 500 }, () => [1]))));
      }
      await killing;
      await waitFor(
        async () => (await tasks.find({ limit: 1, status: ['pending', 'running'] })).total === 0,
        200,
      );
      const { counts } = await tasks.aggregate('statsSnapshot');
      expect(counts).toMatchObject({ pending: 0, running: 0, failed: 0, cancelled: 0 });
      expect(counts.success + counts.interrupted).toBe(amount);
      // Each killed worker leaves at most as many interrupted tasks as it has slots.
      expect(counts.interrupted).toBeLessThanOrEqual(kills * 20);
      expect((await tasks.find({ limit: 1, name: 'again', status: ['interrupted'] })).total).toBe(
        0,
      );
      expect(new Set(ids).size).toBe(amount);
      for (const url of urls) {
        const { json } = await ask(`${url}/metrics`, { headers: await logIn(url) });
        expect((json as { counts: object }).counts).toMatchObject({
          success: counts.success,
          interrupted: counts.interrupted,
        });
      }
    }, 300_000);
  },
);
