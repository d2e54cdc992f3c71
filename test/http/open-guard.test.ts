import { afterAll, beforeAll, expect, it } from '@jest/globals';
import Koa from 'koa';
import { taskAdmin } from '../../src/admin.js';
import { TaskManager } from '../../src/manager.js';
import { ask } from '../helpers/client.js';
import { recordingLogger } from '../helpers/logs.js';
import { type Served, serve } from '../helpers/serve.js';

let tasks: TaskManager;
const served: Served[] = [];
beforeAll(() => {
  tasks = new TaskManager({ database: ':memory:', logger: false });
});
afterAll(async () => {
  await Promise.all(served.map((each) => each.close()));
  await tasks.stop();
});

it.each([
  ['once if its server listens on every address', '0.0.0.0', 1],
  ['once if it is the second app of the process', '0.0.0.0', 1],
  ['not if its server listens on loopback', '127.0.0.1', 0],
] as const)('warns about a missing login %s', async (_case, address, times) => {
  const log = recordingLogger();
  const app = new Koa().use(taskAdmin(tasks, { auth: null, logger: log.logger }));
  const server = await serve(app, address);
  served.push(server);
  for (const path of ['', '/dashboard', '/metrics', ''])
    expect((await ask(`${server.url}/tasks${path}`)).status).toBe(200);
  const warnings = log.lines.filter(({ msg }) => String(msg).includes('has no login'));
  expect(warnings).toHaveLength(times);
});
