import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type AdminApp, serveAdmin } from '../helpers/admin-app.js';
import { ask, postJson } from '../helpers/client.js';
import { by } from '../helpers/mistakes.js';
import { waitFor } from '../helpers/wait.js';

/** Members of queries and commands. Each of them would change what the calls below do. */
const members = {
  name: 'no_such_task',
  queue: 'no_such_queue',
  schedule: 'no_such_schedule',
  q: 'nothing',
  from: '2999-01-01T00:00:00Z',
  limit: 'x',
  dryRun: true,
  expect: 7,
  filter: 'all',
};

let app: AdminApp;
beforeEach(async () => {
  app = await serveAdmin({ auth: null });
  await waitFor(async () => (await app.tasks.get(app.taskId))?.status === 'failed');
  for (const [key, value] of Object.entries(members))
    Object.defineProperty(Object.prototype, key, { value, configurable: true, writable: true });
});
afterEach(async () => {
  for (const key of Object.keys(members)) Reflect.deleteProperty(Object.prototype, key);
  await app.close();
});

describe('a polluted Object.prototype', () => {
  it('sets no member of a query', async () => {
    const { tasks, taskId, base } = app;
    expect((await tasks.find({})).items).toHaveLength(1);
    expect((await tasks.find()).items).toHaveLength(1);
    expect(await tasks.logs(taskId, {})).toEqual([]);
    expect((await tasks.aggregate('failures', {})).items).toHaveLength(1);
    expect(await tasks.aggregate('metrics', {})).toMatchObject({ counts: { failed: 1 } });
    for (const path of ['', '/failures', `/${taskId}`])
      expect((await ask(`${base}${path}`)).json).toMatchObject(
        path.includes(taskId) ? { id: taskId } : { items: [{}] },
      );
  });

  it('sets no member of a command', async () => {
    const { tasks, taskId } = app;
    const filter = { status: ['failed'] as const };
    expect(await tasks.control({ action: 'cancel', filter }, by)).toMatchObject({ found: {} });
    const { results } = await tasks.control({ action: 'delete', ids: [taskId] }, by);
    expect(results).toMatchObject([{ ok: true }]);
    expect(await tasks.get(taskId)).toBeUndefined();
  });

  it('sets no member of a request', async () => {
    const { tasks, taskId, base } = app;
    const counted = { action: 'delete', filter: { status: ['failed'] }, dryRun: true };
    expect((await postJson(`${base}/bulk`, counted)).json).toMatchObject({ count: 1 });
    const { json } = await postJson(`${base}/bulk`, { action: 'delete', ids: [taskId] });
    expect(json).toMatchObject({ dispatched: 1, dryRun: false });
    expect(await tasks.get(taskId)).toBeUndefined();
  });
});
