import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import Koa from 'koa';
import type { AuditEvent } from '../../src/http/access.js';
import { TaskManager } from '../../src/manager.js';
import { taskLog } from '../../src/tasks/context.js';
import type { TaskSummary } from '../../src/tasks/types.js';
import { taskRoutes } from '../../src/web/task-routes.js';
import { ask, postJson } from '../helpers/client.js';
import { type Served, serve } from '../helpers/serve.js';
import { waitFor } from '../helpers/wait.js';

const tasks = new TaskManager({ database: ':memory:', logger: false, limits: { argsBytes: 1000 } });
const add = tasks.task('add', (a: number, b: number) => {
  taskLog(`adding ${a} and ${b}`);
  taskLog.warn('slowly', { b });
  return a + b;
});
tasks.schedule('hourly', add, { every: 3600, args: [1, 1] });
const recorded: AuditEvent[] = [];
const access = {
  who: (ctx: Koa.Context) => ({
    name: ctx.get('X-Test-User'),
    roles: ctx.get('X-Test-User') === 'ada' ? ['operator'] : ['viewer'],
  }),
  record: (event: AuditEvent) => void recorded.push(event),
};
const ada = { 'X-Test-User': 'ada' };
let served: Served;
let api: string;
const post = (path: string, body?: unknown, headers: Record<string, string> = ada) =>
  body === undefined
    ? ask(api + path, { method: 'POST', headers })
    : postJson(api + path, body as object, headers);
const code = (answer: { json: unknown }): string => (answer.json as { code: string }).code;
const done = (id: string) => waitFor(async () => (await tasks.get(id))?.status === 'success');

beforeAll(async () => {
  const app = new Koa();
  app.use(taskRoutes(tasks, { access, logger: false }));
  served = await serve(app);
  api = `${served.url}/tasks`;
  await tasks.start();
});
afterAll(async () => {
  await Promise.all([served.close(), tasks.stop()]);
});
beforeEach(() => {
  recorded.length = 0;
});

describe('POST P/:id/rerun', () => {
  it('creates a linked task with the same arguments, and returns its location', async () => {
    const id = await add.enqueue(1, 2);
    await done(id);
    const answer = await post(`/${id}/rerun`);
    const made = answer.json as TaskSummary;
    expect([answer.status, answer.headers.get('Location')]).toEqual([201, `/tasks/${made.id}`]);
    expect(made.id).not.toBe(id);
    await done(made.id);
    expect(await tasks.get(made.id)).toMatchObject({ result: 3, rerunOf: id });
    expect(await tasks.get(id)).toMatchObject({ rerunAs: made.id });
    expect(recorded).toMatchObject([
      { action: 'rerun', actor: 'ada', outcome: 'done', tasks: [id] },
    ]);
  });

  it('accepts other arguments', async () => {
    const id = await add.enqueue(1, 2);
    await done(id);
    const made = (await post(`/${id}/rerun`, { args: [20, 22], reason: 'wrong numbers' }))
      .json as TaskSummary;
    await done(made.id);
    expect((await tasks.get(made.id))?.result).toBe(42);
    expect(recorded).toMatchObject([
      { action: 'rerun', outcome: 'done', detail: { rerunAs: made.id, reason: 'wrong numbers' } },
    ]);
  });

  it('rejects tasks that have not ended, and invalid arguments', async () => {
    const waiting = await add.with({ runIn: 60 }).enqueue(1, 2);
    const early = await post(`/${waiting}/rerun`);
    expect([early.status, code(early)]).toEqual([409, 'TASK_STATE_CONFLICT']);
    const ended = await add.enqueue(1, 2);
    await done(ended);
    const bodies = [
      { args: { a: 1 } },
      { args: 'x' },
      { args: ['x'.repeat(2000)] },
      { argument: [] },
    ];
    for (const body of bodies) {
      const answer = await post(`/${ended}/rerun`, body);
      expect([answer.status, code(answer)]).toEqual([400, 'INVALID_INPUT']);
    }
    expect((await tasks.get(ended))?.rerunAs).toBeNull();
  });
});

describe('GET P/:id/logs', () => {
  it('returns the lines of a task, all or after a number', async () => {
    const id = await add.enqueue(3, 4);
    await done(id);
    await waitFor(async () => (await tasks.logs(id, {}))?.length === 2);
    const page = async (query: string) =>
      (await ask(`${api}/${id}/logs${query}`, { headers: ada })).json as {
        items: { n: number; message: string }[];
        nextAfter: number | null;
      };
    const lines = async (query: string) => (await page(query)).items.map(({ message }) => message);
    expect(await lines('')).toEqual(['adding 3 and 4', 'slowly']);
    expect(await lines('?after=1')).toEqual(['slowly']);
    expect(await page('?limit=1')).toMatchObject({
      items: [{ n: 1, message: 'adding 3 and 4' }],
      nextAfter: 1,
    });
    expect((await page('?limit=1&after=1')).nextAfter).toBeNull();
    expect(await lines('?level=warn')).toEqual(['slowly']);
    expect(await lines('?level=error')).toEqual([]);
    expect(await lines('?level=trace')).toEqual(['adding 3 and 4', 'slowly']);
    expect(await lines('?q=ADDING')).toEqual(['adding 3 and 4']);
    expect(await lines('?q=%25')).toEqual([]);
    expect(await lines('?q=%22b%22:4')).toEqual(['slowly']);
    expect(await lines('?attempt=2')).toEqual([]);
  });

  it('answers 404 for an unknown task, and 400 for an invalid number', async () => {
    expect(
      code(await ask(`${api}/01890000-0000-7000-8000-000000000000/logs`, { headers: ada })),
    ).toBe('TASK_NOT_FOUND');
    expect(code(await ask(`${api}/x/logs`, { headers: ada }))).toBe('TASK_NOT_FOUND');
    expect(code(await ask(`${api}/x/logs?after=-1`, { headers: ada }))).toBe('INVALID_INPUT');
  });
});

describe('an operator', () => {
  it('pauses a queue, so that none of its tasks starts, and resumes it', async () => {
    expect((await post('/queues/default/pause', { reason: 'the bank is down' })).json).toEqual({
      queue: 'default',
      paused: true,
    });
    expect(recorded.at(-1)).toMatchObject({
      action: 'pause',
      detail: { queue: 'default', reason: 'the bank is down' },
    });
    const id = await add.enqueue(1, 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await tasks.get(id))?.status).toBe('pending');
    expect((await post('/queues/default/resume')).json).toEqual({
      queue: 'default',
      paused: false,
    });
    await done(id);
    expect(recorded).toMatchObject([
      { action: 'pause', actor: 'ada', outcome: 'done', detail: { queue: 'default' } },
      { action: 'resume', actor: 'ada', outcome: 'done', detail: { queue: 'default' } },
    ]);
  });

  it('runs a schedule now, pauses it and resumes it', async () => {
    const answer = await post('/schedules/hourly/run');
    expect([answer.status, answer.json]).toEqual([
      202,
      expect.objectContaining({ name: 'add', source: 'scheduled' }),
    ]);
    expect((await post('/schedules/hourly/pause')).json).toEqual({
      schedule: 'hourly',
      paused: true,
    });
    expect((await post('/schedules/hourly/resume')).json).toEqual({
      schedule: 'hourly',
      paused: false,
    });
  });

  it('cannot remove a defined schedule, and the audit log has the attempt', async () => {
    const answer = await post('/schedules/hourly/remove', { reason: 'old' });
    expect([answer.status, code(answer)]).toEqual([409, 'SCHEDULE_DEFINED']);
    expect(recorded).toMatchObject([
      { action: 'remove', outcome: 'refused', detail: { schedule: 'hourly', reason: 'old' } },
    ]);
  });

  it('gets 404 for an unknown schedule, and a viewer gets 403', async () => {
    const unknown = await post('/schedules/nightly/run');
    expect([unknown.status, code(unknown)]).toEqual([404, 'NOT_FOUND']);
    const vera = { 'X-Test-User': 'vera' };
    for (const path of [
      '/schedules/hourly/run',
      '/queues/default/pause',
      '/01890000-0000-7000-8000-000000000000/rerun',
    ])
      expect((await post(path, undefined, vera)).status).toBe(403);
    expect(recorded.map(({ action, outcome }) => [action, outcome])).toEqual([
      ['run', 'refused'],
      ['run', 'refused'],
      ['pause', 'refused'],
      ['rerun', 'refused'],
    ]);
  });
});
