import { expect, it } from '@jest/globals';
import Koa from 'koa';
import { taskAdmin } from '../../src/admin.js';
import { createClient } from '../../src/client/client.js';
import { TaskManager } from '../../src/manager.js';
import { gate, waitFor } from '../../src/testing/wait.js';
import { serve } from '../helpers/serve.js';

it('a slot of a handler that did not stop is shown as stuck in all metrics', async () => {
  const hang = gate();
  const tasks = new TaskManager({ database: ':memory:', concurrency: 2, logger: false });
  const hanging = tasks.task('hanging', () => hang.passed, { timeout: 0.05, cancelGrace: 0.05 });
  await tasks.start();
  const app = new Koa();
  app.use(taskAdmin(tasks, { auth: null, logger: false }));
  const served = await serve(app);
  const client = createClient(`${served.url}/tasks`);
  const prometheus = async (): Promise<string> =>
    (await fetch(`${served.url}/tasks/metrics/prometheus`)).text();
  expect((await client.metrics()).workers).toEqual({ count: 1, slots: 2, stuck: 0 });
  await hanging.enqueue();
  await waitFor(async () => (await client.workers()).items[0]?.stuck === 1);
  expect((await client.metrics()).workers).toEqual({ count: 1, slots: 2, stuck: 1 });
  expect(await prometheus()).toContain('koa_taskflow_worker_slots_stuck 1\n');
  hang.open();
  await waitFor(async () => (await client.metrics()).workers.stuck === 0);
  expect(await prometheus()).toContain('koa_taskflow_worker_slots_stuck 0\n');
  await served.close();
  await tasks.stop();
});
