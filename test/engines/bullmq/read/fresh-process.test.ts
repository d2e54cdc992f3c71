import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import Koa from 'koa';
import { taskAdmin } from '../../../../src/admin.js';
import { attachQueues } from '../../../../src/engines/bullmq/attached/attach-queues.js';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import { ask } from '../../../helpers/client.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { serve } from '../../../helpers/serve.js';
import { waitFor } from '../../../helpers/wait.js';

/** More tasks than a process reads before its first answer. */
const amount = 4000;

(hasRedis ? describe : describe.skip)(
  'a process that has just started, with thousands of ended tasks in Redis',
  () => {
    const keep = closeAfterEach();
    let redis: RedisServer;

    const manager = (): TaskManager => {
      const tasks = new TaskManager({
        engine: bullmqEngine({ connection: redis.connection, logger: false }),
        logger: false,
        concurrency: 50,
      });
      keep({ close: () => tasks.stop({ timeout: 0.1 }) });
      return tasks;
    };

    beforeAll(async () => {
      redis = await RedisServer.start();
      const tasks = new TaskManager({
        engine: bullmqEngine({ connection: redis.connection, logger: false }),
        logger: false,
        concurrency: 50,
      });
      let ran = 0;
      const noop = tasks.task('noop', () => {
        ran += 1;
      });
      await noop
        .with({ tags: { kind: 'rare' } })
        .enqueueMany(Array.from({ length: 20 }, () => [] as []));
      await noop.enqueueMany(Array.from({ length: amount - 20 }, () => [] as []));
      await tasks.start();
      await waitFor(() => ran === amount);
      await tasks.stop();
    });
    afterAll(() => redis.remove());

    async function exported(
      tasks: Parameters<typeof taskAdmin>[0],
    ): Promise<{ rows: number; searched: string | null }> {
      const app = new Koa();
      app.use(taskAdmin(tasks, { auth: null, logger: false }));
      const { text, headers } = await ask(
        `${keep(await serve(app)).url}/tasks/export?format=ndjson`,
      );
      return {
        rows: text.trimEnd().split('\n').length,
        searched: headers.get('Taskflow-Searched'),
      };
    }

    it('finds the oldest tasks by a tag', async () => {
      const page = await manager().find({ tag: 'kind:rare' });
      expect(page).toMatchObject({ total: 20 });
      expect(page).not.toHaveProperty('limited');
    });

    it('exports all tasks', async () => {
      expect(await exported(manager())).toEqual({ rows: amount, searched: null });
    });

    it('reports in an export how many tasks it covers if it does not cover all', async () => {
      const queue = keep(
        new Queue('default', { connection: redis.connection, prefix: '{koa-taskflow}' }),
      );
      const attached = attachQueues([queue], { keep: 50, history: 50, logger: false });
      keep(attached);
      expect(await exported(attached)).toEqual({ rows: 50, searched: '50' });
    });
  },
);
